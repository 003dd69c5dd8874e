"""Fits an adaptation into memory and time: views, precision, depth and rhythm.

What is needed is measured on this machine, with the network at hand: a few steps of the leanest
choices, from which the others follow.

    bytes(views, saved, depth)  = peak of observing + (1 + views) kept(saved, depth)
                                  + views passing
    seconds(.., every)          = observe + ((1 + views) learn(saved, depth) - observe) / every

kept: what waits for the backward pass of one image (counted); passing: what one image's forward
pass needs for a moment (peak of observing less what was resident before).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edge_tta.adapter import Adapter
from edge_tta.errors import EdgeTTAError
from edge_tta.network.saved import saved_bytes
from edge_tta.resident import peak_bytes, reset_peak, resident_bytes

MIB = 2**20
MOST_FRAMES_APART = 64
_SHARES = (1.0, 0.5, 0.25, 0.125)
_STEPS = 3


class BudgetError(EdgeTTAError):
    """A budget that no choice fits into."""


@dataclass(frozen=True)
class Choice:
    """What a run could do, and what that needs.

    Attributes:
        saved: precision of what waits for the backward pass.
        depth: BatchNorm layers that train, 0: all.
        needed_bytes: peak of the process, or of the CUDA device's memory.
        needed_s: mean time of a frame; `longest_s` that of a frame that learns.
        loss: how much is given up against what was asked for, for comparing choices.
    """

    views: int
    saved: str
    depth: int
    adapt_every: int
    needed_bytes: float
    needed_s: float
    longest_s: float
    loss: float

    def __str__(self) -> str:
        layers = f"the last {self.depth} layers train" if self.depth else "all layers train"
        rhythm = "" if self.adapt_every == 1 else f", every {self.adapt_every} frames"
        return (
            f"{self.views} views, {self.saved}, {layers}{rhythm}: {self.needed_bytes / MIB:.0f} "
            f"MiB, {1e3 * self.needed_s:.1f} ms a frame (longest {1e3 * self.longest_s:.1f})"
        )


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
    adapt_every: int,
    budget_bytes: float | None,
    budget_s: float | None,
) -> tuple[Choice, str]:
    """The choice that gives up least, and the reason in a line.

    Args:
        build: a fresh adapter of one view for (saved, depth); all share one network.
        image: (1, channels, H, W) to measure with.
        views, adapt_every: as asked for; neither more views nor more learning is chosen.

    Raises:
        BudgetError: nothing fits; the smallest figures that would are in the message.
    """
    found = choices(measured(build, image), views, adapt_every)
    return chosen(found, budget_bytes, budget_s)


def chosen(
    found: list[Choice], budget_bytes: float | None, budget_s: float | None
) -> tuple[Choice, str]:
    """The first choice that fits, and why the ones before it do not. Raises BudgetError."""
    most_bytes = math.inf if budget_bytes is None else budget_bytes
    most_s = math.inf if budget_s is None else budget_s
    fitting = [c for c in found if c.needed_bytes <= most_bytes and c.needed_s <= most_s]
    if not fitting:
        raise BudgetError(_refusal(found, most_bytes, most_s))
    best = fitting[0]
    if best is found[0]:
        return best, f"budget: as asked for fits: {best}"
    return best, f"budget: chose {best}; as asked for would need {found[0]}"


def choices(costs: Costs, views: int, adapt_every: int) -> list[Choice]:
    """All choices, what gives up least first.

    int8 in place of float16 counts 1, each view 1.2, half as often 1.5, half the layers 2.
    """
    found = []
    for (saved, depth), v, every in itertools.product(
        costs.kept_bytes, range(views + 1), _rhythms(adapt_every)
    ):
        learn_s = (1 + v) * costs.learn_s[saved, depth]
        halvings = _halvings(depth, costs)
        loss = (saved == "int8") + 1.2 * (views - v) + 2 * halvings
        loss += 1.5 * math.log2(every / adapt_every)
        needed = costs.observe_bytes + (1 + v) * costs.kept_bytes[saved, depth]
        needed += v * costs.passing_bytes
        mean_s = costs.observe_s + max(0.0, learn_s - costs.observe_s) / every
        found.append(Choice(v, saved, depth, every, needed, mean_s, learn_s, loss))
    return sorted(found, key=lambda c: c.loss)


def measured(build: Build, image: Tensor) -> Costs:
    """Costs of the network that `build` adapts; the leanest first, so that peaks tell."""
    layers = len(build("int8", 0).prepare(tuple(image.shape[1:])).program.layers)
    depths = list(dict.fromkeys(0 if s == 1 else max(1, round(s * layers)) for s in _SHARES))
    adapter = build("int8", 0)
    observe_s, observe_bytes, before = _observing(adapter, image)
    kept: dict[tuple[str, int], float] = {}
    learn: dict[tuple[str, int], float] = {}
    for saved, depth in itertools.product(("int8", "float16"), reversed(depths)):
        adapter = build(saved, depth)
        kept[saved, depth] = _kept(adapter, image)
        learn[saved, depth] = _seconds(adapter, image)
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


def _rhythms(adapt_every: int) -> Iterator[int]:
    every = adapt_every
    while every <= max(adapt_every, MOST_FRAMES_APART):
        yield every
        every *= 2


def _halvings(depth: int, costs: Costs) -> float:
    """How often the layers that train were halved: depths are so spaced."""
    depths = list(dict.fromkeys(d for _, d in costs.kept_bytes))
    order = sorted(depths, key=lambda d: math.inf if d == 0 else d, reverse=True)
    return float(order.index(depth))


def _refusal(found: list[Choice], most_bytes: float, most_s: float) -> str:
    least = min(found, key=lambda c: c.needed_bytes)
    fastest = min(found, key=lambda c: c.needed_s)
    parts = []
    if least.needed_bytes > most_bytes:
        parts.append(
            f"--budget-mb {most_bytes / MIB:.0f} cannot be met: the least is "
            f"{math.ceil(least.needed_bytes / MIB)} ({least})"
        )
    if fastest.needed_s > most_s:
        parts.append(
            f"--budget-ms {1e3 * most_s:g} cannot be met: the least is "
            f"{math.ceil(1e4 * fastest.needed_s) / 10:g} ({fastest})"
        )
    if not parts:
        both = min((c for c in found if c.needed_bytes <= most_bytes), key=lambda c: c.needed_s)
        parts.append(
            f"--budget-mb {most_bytes / MIB:.0f} and --budget-ms {1e3 * most_s:g} cannot be met "
            f"together: within the memory the least is {math.ceil(1e4 * both.needed_s) / 10:g} ms"
        )
    return "; ".join(parts) + "; raise the budget, or take a smaller network or --size"
