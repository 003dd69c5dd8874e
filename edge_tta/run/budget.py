"""Fits an adaptation into memory and time: views, how many of them at a time, precision, depth and
rhythm.

What is needed is measured on this machine, with the network at hand: a few steps of the leanest
choices, from which the others follow.

    bytes(together, saved, depth) = peak of observing + together kept(saved, depth)
                                    + (together - 1) passing
    seconds(.., every)            = observe + ((1 + views) learn(saved, depth) - observe) / every

together: views at a time, the frame among them, so 1 + views where all are; kept: what waits for
the backward pass of one image (counted); passing: what one image's forward pass needs for a moment
(peak of observing less what was resident before).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edge_tta import heap
from edge_tta.adapter import Adapter
from edge_tta.network.saved import saved_bytes
from edge_tta.resident import peak_bytes, reset_peak, resident_bytes
from edge_tta.run.choices import Choice, chosen, depths_of, plans

_PRECISIONS = ("float16", "int8")
_STEPS = 3


@dataclass(frozen=True)
class Costs:
    """Measured of one network on this machine; kept and learn by (saved, depth)."""

    observe_bytes: float
    passing_bytes: float
    observe_s: float
    kept_bytes: dict[tuple[str, int], float]
    learn_s: dict[tuple[str, int], float]


Build = Callable[[str, int], Adapter]


def fit(
    build: Build,
    image: Tensor,
    *,
    views: int,
    depth: int,
    adapt_every: int,
    at_a_time: Sequence[int] = (0,),
    budget_bytes: float | None,
    budget_s: float | None,
) -> tuple[Choice, str]:
    """The choice that gives up least, and the reason in a line.

    Args:
        build: a fresh adapter of one view for (saved, depth); all share one network.
        image: (1, channels, H, W) to measure with.
        views, depth, adapt_every: as asked for; no more of them is chosen.
        at_a_time: views that may learn together, what is wished most first; 0: all.

    Raises:
        BudgetError: nothing fits; the smallest figures that would are in the message.
    """
    found = choices(measured(build, image, depth), views, adapt_every, at_a_time)
    return chosen(found, budget_bytes, budget_s)


def choices(
    costs: Costs, views: int, adapt_every: int, at_a_time: Sequence[int] = (0,)
) -> list[Choice]:
    """All choices, what gives up least first."""
    depths = sorted({d for _, d in costs.kept_bytes}, key=lambda d: d or math.inf, reverse=True)
    found = []
    for plan in plans(_PRECISIONS, depths, views, adapt_every, at_a_time):
        key = plan.saving, plan.depth
        if key in costs.kept_bytes:
            needed = costs.observe_bytes + plan.together * costs.kept_bytes[key]
            needed += (plan.together - 1) * costs.passing_bytes
            learn_s = (1 + plan.views) * costs.learn_s[key]
            found.append(plan.costing(needed, costs.observe_s, learn_s))
    return found


def measured(build: Build, image: Tensor, depth: int = 0) -> Costs:
    """Costs of the network that `build` adapts; the leanest first, so that peaks tell."""
    layers = len(build("int8", 0).prepare(tuple(image.shape[1:])).program.layers)
    depths = depths_of(layers, depth)
    heap.trim()
    adapter = build("int8", 0)
    observe_s, observe_bytes, before = _observing(adapter, image)
    kept: dict[tuple[str, int], float] = {}
    learn: dict[tuple[str, int], float] = {}
    for key in itertools.product(reversed(_PRECISIONS), reversed(depths)):
        adapter = build(*key)
        kept[key] = _kept(adapter, image)
        learn[key] = _seconds(adapter, image)
    return Costs(observe_bytes, max(0.0, observe_bytes - before), observe_s, kept, learn)


def drawn_image(shape: tuple[int, ...]) -> Tensor:
    """A smooth random image (1, channels, H, W), in units of a normalised one."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((1, shape[0], 8, 8), generator=generator)
    return torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")


def _observing(adapter: Adapter, image: Tensor) -> tuple[float, float, float]:
    """Seconds and peak of observing, and what was there before."""
    on_cuda = adapter.device.type == "cuda"
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


def _kept(adapter: Adapter, image: Tensor) -> float:
    """Bytes that wait for the backward pass of one image; weights are not counted."""
    adapter(image, learn=False)
    program = adapter.prepare(tuple(image.shape[1:])).program
    there = [*program.tensors(), *adapter.state.values()]
    return saved_bytes(lambda: adapter(image), {t.untyped_storage().data_ptr() for t in there})


def _seconds(adapter: Adapter, image: Tensor, *, learn: bool = True) -> float:
    """Median of a few steps, after one."""
    on_cuda, found = adapter.device.type == "cuda", []
    adapter(image, learn=learn)
    for _ in range(_STEPS):
        if on_cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        adapter(image, learn=learn)
        if on_cuda:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return float(np.median(found))
