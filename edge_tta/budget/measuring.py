"""Memory that learning takes on this machine, measured with a network that PyTorch runs.

A few steps of the leanest choices are measured, from which the others follow:

    bytes(views, saved, depth) = peak of observing + (1 + views) image(saved, depth) + views passing

image: bytes saved for the backward pass of one image; passing: what one image's forward pass needs
for a moment (peak of observing less what was resident before).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_tta import heap
from edge_tta.adapter import Adapter
from edge_tta.budget.choices import Choice, chosen, depths_of, plans
from edge_tta.engines.torch import engine_of
from edge_tta.network.saved import saved_bytes
from edge_tta.resident import peak_bytes, reset_peak, resident_bytes

_PRECISIONS = ("float16", "int8")

Build = Callable[[str, float], Adapter]


@dataclass(frozen=True)
class Costs:
    """Bytes that one network takes on this machine; saved_bytes by (saved, depth)."""

    observe_bytes: float
    passing_bytes: float
    saved_bytes: dict[tuple[str, float], float]


def fit(
    build: Build, image: Tensor, *, views: int, depth: float, budget_bytes: float
) -> tuple[Choice, str]:
    """Return the choice that gives up least, and the reason in a line.

    Args:
        build: a fresh adapter of one view for (saved, depth); all share one network.
        image: (1, channels, H, W) to measure with.
        views, depth: as asked for; no more of them is chosen.

    Raises:
        BudgetError: nothing fits; the least that would be needed is in the message.
    """
    return chosen(choices(measured(build, image, depth), views), budget_bytes)


def choices(costs: Costs, views: int) -> list[Choice]:
    """Return all choices, what gives up least first."""
    depths = list(dict.fromkeys(depth for _, depth in costs.saved_bytes))
    priced = []
    for plan in plans(_PRECISIONS, depths, views):
        saved = costs.saved_bytes.get((plan.saving, plan.depth))
        if saved is not None:
            needed = costs.observe_bytes + (1 + plan.views) * saved
            priced.append(plan.costing(needed + plan.views * costs.passing_bytes))
    return priced


def measured(build: Build, image: Tensor, depth: float = 0) -> Costs:
    """Return the costs of the network that `build` adapts."""
    # The leanest first, so that peaks tell.
    first = build("int8", 0)
    first.prepare(tuple(image.shape[1:]))
    depths = depths_of(len(engine_of(first).step.program.layers), depth)
    heap.trim()
    observe_bytes, before = _observing(build("int8", 0), image)
    keys = itertools.product(reversed(_PRECISIONS), reversed(depths))
    saved = {key: _saved(build(*key), image) for key in keys}
    # What gives up least first.
    saved = dict(reversed(saved.items()))
    return Costs(observe_bytes, max(0.0, observe_bytes - before), saved)


def drawn_image(shape: tuple[int, ...]) -> Tensor:
    """Return a smooth random image (1, channels, H, W), in units of a normalised one."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((1, shape[0], 8, 8), generator=generator)
    return torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")


def _observing(adapter: Adapter, image: Tensor) -> tuple[float, float]:
    """Peak bytes of observing, and the bytes that were there before."""
    engine = engine_of(adapter)
    on_cuda = engine.network.device.type == "cuda"
    adapter(image, learn=False)
    engine.step.on_stage = lambda stage: None  # a recorded step takes its memory once for all
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
        before: float = torch.cuda.memory_allocated()
    else:
        reset_peak()
        before = resident_bytes() or 0
    adapter(image, learn=False)
    if on_cuda:
        torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() if on_cuda else peak_bytes()[0], before


def _saved(adapter: Adapter, image: Tensor) -> float:
    """Bytes saved for the backward pass of one image; weights are not counted."""
    adapter(image, learn=False)
    program = engine_of(adapter).step.program
    there = [*program.tensors(), *adapter.state.values()]
    return saved_bytes(lambda: adapter(image), {t.untyped_storage().data_ptr() for t in there})
