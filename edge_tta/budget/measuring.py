"""Costs of learning on this machine, measured with a network that PyTorch runs.

A few steps of the leanest choices are measured, from which the others follow:

    bytes(views, saved, depth) = peak of observing + (1 + views) image(saved, depth) + views passing
    seconds(.., every)         = observe + ((1 + views) learn(saved, depth) - observe) / every

image: bytes saved for the backward pass of one image; passing: what one image's forward pass needs
for a moment (peak of observing less what was resident before).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edge_tta import heap
from edge_tta.adapter import Adapter
from edge_tta.budget.choices import Budget, Choice, chosen, depths_of, plans
from edge_tta.engines.torch import engine_of
from edge_tta.network.saved import saved_bytes
from edge_tta.resident import peak_bytes, reset_peak, resident_bytes

_PRECISIONS = ("float16", "int8")
_STEPS = 3

Key = tuple[str, float]
"""(saved, depth)."""
Build = Callable[[str, float], Adapter]


@dataclass(frozen=True)
class Costs:
    """Costs of one network on this machine; saved_bytes and learn_s by (saved, depth)."""

    observe_bytes: float
    passing_bytes: float
    observe_s: float
    saved_bytes: dict[Key, float]
    learn_s: dict[Key, float]


def fit(
    build: Build, image: Tensor, *, views: int, depth: float, adapt_every: int, budget: Budget
) -> tuple[Choice, str]:
    """Return the choice that gives up least, and the reason in a line.

    Args:
        build: a fresh adapter of one view for (saved, depth); all share one network.
        image: (1, channels, H, W) to measure with.
        views, depth, adapt_every: as asked for; no more of them is chosen.

    Raises:
        BudgetError: nothing fits; the smallest figures that would are in the message.
    """
    return chosen(choices(measured(build, image, depth), views, adapt_every), budget)


def choices(costs: Costs, views: int, adapt_every: int) -> list[Choice]:
    """Return all choices, what gives up least first."""
    depths = list(dict.fromkeys(depth for _, depth in costs.saved_bytes))
    priced = []
    for plan in plans(_PRECISIONS, depths, views, adapt_every):
        key = plan.saving, plan.depth
        if key in costs.saved_bytes:
            needed = costs.observe_bytes + (1 + plan.views) * costs.saved_bytes[key]
            needed += plan.views * costs.passing_bytes
            learn_s = (1 + plan.views) * costs.learn_s[key]
            priced.append(plan.costing(needed, costs.observe_s, learn_s))
    return priced


def measured(build: Build, image: Tensor, depth: float = 0) -> Costs:
    """Return the costs of the network that `build` adapts."""
    # The leanest first, so that peaks tell.
    first = build("int8", 0)
    first.prepare(tuple(image.shape[1:]))
    depths = depths_of(len(engine_of(first).step.program.layers), depth)
    heap.trim()
    observe_s, observe_bytes, before = _observing(build("int8", 0), image)
    saved: dict[Key, float] = {}
    learn: dict[Key, float] = {}
    for key in itertools.product(reversed(_PRECISIONS), reversed(depths)):
        adapter = build(*key)
        saved[key] = _saved(adapter, image)
        learn[key] = _seconds(adapter, image)
    # What gives up least first.
    saved, learn = (dict(reversed(costs.items())) for costs in (saved, learn))
    return Costs(observe_bytes, max(0.0, observe_bytes - before), observe_s, saved, learn)


def drawn_image(shape: tuple[int, ...]) -> Tensor:
    """Return a smooth random image (1, channels, H, W), in units of a normalised one."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((1, shape[0], 8, 8), generator=generator)
    return torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")


def _observing(adapter: Adapter, image: Tensor) -> tuple[float, float, float]:
    """Seconds and peak bytes of observing, and the bytes that were there before."""
    on_cuda = engine_of(adapter).network.device.type == "cuda"
    adapter(image, learn=False)
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
        before: float = torch.cuda.memory_allocated()
    else:
        reset_peak()
        before = resident_bytes() or 0
    seconds = _seconds(adapter, image, learn=False)
    peak = torch.cuda.max_memory_allocated() if on_cuda else peak_bytes()[0]
    return seconds, peak, before


def _saved(adapter: Adapter, image: Tensor) -> float:
    """Bytes saved for the backward pass of one image; weights are not counted."""
    adapter(image, learn=False)
    program = engine_of(adapter).step.program
    there = [*program.tensors(), *adapter.state.values()]
    return saved_bytes(lambda: adapter(image), {t.untyped_storage().data_ptr() for t in there})


def _seconds(adapter: Adapter, image: Tensor, *, learn: bool = True) -> float:
    """Median of a few steps, after one."""
    on_cuda, times = engine_of(adapter).network.device.type == "cuda", []
    adapter(image, learn=learn)
    for _ in range(_STEPS):
        if on_cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        adapter(image, learn=learn)
        if on_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times))
