"""Anchored calibration against its definition written layer by layer, channel by channel."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method.anchored import ALL_NEWS, FIRST_SPREAD, SPREAD_SMOOTHING, Anchor
from edge_tta.network.program import BatchNorm

SIZES = (3, 5)
CONFIG = MethodConfig(
    calibration="anchored",
    smoothing=0.9,
    lasting_smoothing=0.99,
    prior_frames=8,
    anchor=0.6,
    catch_up=0.5,
)

Stats = tuple[list[float], list[float]]


def _layers(dtype: torch.dtype = torch.float64) -> tuple[BatchNorm, ...]:
    generator = torch.Generator().manual_seed(5)
    return tuple(
        BatchNorm(
            f"bn{i}", size, 10.0 ** -(3 + i), torch.zeros(size, dtype=dtype),
            torch.rand(size, generator=generator, dtype=dtype) + 0.5, "m", "v", None, None,
        )
        for i, size in enumerate(SIZES)
    )  # fmt: skip


class OneLayer:
    """The definition, for one layer, in Python floats."""

    def __init__(self, layer: BatchNorm, config: MethodConfig) -> None:
        self.config, self.eps = config, layer.eps
        self.source: list[float] = layer.variance.tolist()
        zeros = [0.0] * len(self.source)
        self.recent: Stats = zeros, self.source
        self.lasting: Stats = zeros, self.source
        self.spread = FIRST_SPREAD
        self.t = 0

    def distances(self, a: Stats, b: Stats) -> tuple[float, float]:
        n, eps = len(self.source), self.eps
        means = sum((a[0][c] - b[0][c]) ** 2 / (self.source[c] + eps) for c in range(n)) / n
        logs = sum(math.log((a[1][c] + eps) / (b[1][c] + eps)) ** 2 for c in range(n)) / n
        return means, logs

    def share(self, running: Stats, centre: Stats) -> list[float]:
        found = zip(self.distances(running, centre), self.spread, strict=True)
        return [max(0.0, 1 - self.config.anchor * s / d) if d > 0 else 0.0 for d, s in found]

    def drawn(self, running: Stats, centre: Stats) -> Stats:
        of_means, of_variances = self.share(running, centre)
        offsets = [c + of_means * (r - c) for r, c in zip(running[0], centre[0], strict=True)]
        variances = [
            (c + self.eps) * ((r + self.eps) / (c + self.eps)) ** of_variances - self.eps
            for r, c in zip(running[1], centre[1], strict=True)
        ]
        return offsets, variances

    def centre(self) -> Stats:
        return self.drawn(self.lasting, ([0.0] * len(self.source), self.source))

    def used(self) -> Stats:
        return self.drawn(self.recent, self.centre())

    def blend(self, old: Stats, new: Stats, m: float) -> Stats:
        """By the raw moments of Eq. 5."""
        offsets = [m * a + (1 - m) * b for a, b in zip(old[0], new[0], strict=True)]
        squares = [
            m * (v + a * a) + (1 - m) * (w + b * b) for a, v, b, w in zip(*old, *new, strict=True)
        ]
        return offsets, [q - o * o for q, o in zip(squares, offsets, strict=True)]

    def update(self, batch: Stats) -> None:
        config, t = self.config, self.t
        found = zip(self.distances(batch, self.recent), ALL_NEWS, strict=True)
        news = sum(min(1.0, d / enough) for d, enough in found) / 2
        rate = max(1 - SPREAD_SMOOTHING, 1 / (t + 2)) * news
        found = zip(self.spread, self.distances(batch, self.lasting), strict=True)
        self.spread = tuple((1 - rate) * s + rate * d for s, d in found)  # type: ignore[assignment]
        rate = max(1 - config.smoothing, 1 / (t + config.prior_frames / 4 + 1)) * news
        self.recent = self.blend(self.recent, batch, 1 - rate)
        rate = max(1 - config.lasting_smoothing, 1 / (t + config.prior_frames + 1)) * news
        self.lasting = self.blend(self.lasting, batch, 1 - rate)
        followed = [
            config.catch_up * news * part for part in self.share(self.recent, self.centre())
        ]
        self.lasting = tuple(  # type: ignore[assignment]
            [a + g * (b - a) for a, b in zip(old, new, strict=True)]
            for old, new, g in zip(self.lasting, self.recent, followed, strict=True)
        )
        self.t += 1


def _frames(count: int, shift: float, spread: float = 0.3, seed: int = 0) -> list[Tensor]:
    """Means and variances of single frames, (2, C) each."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, 2, sum(SIZES)), generator=generator, dtype=torch.float64)
    return [torch.stack([shift + spread * z[0], (0.5 * z[1]).exp()]) for z in noise]


class Running:
    """The fast form, carried through a stream."""

    def __init__(self, config: MethodConfig = CONFIG, streams: int | None = None) -> None:
        layers = _layers()
        self.anchor, self.t = Anchor(layers, config), 0
        axis = () if streams is None else (streams,)
        source = torch.cat([layer.variance for layer in layers]).expand(*axis, -1)
        self.recent = self.lasting = torch.zeros_like(source), source
        self.spread = torch.tensor(FIRST_SPREAD, dtype=torch.float64).repeat_interleave(2)
        self.spread = self.spread.expand(*axis, -1)
        self.steps = torch.zeros(axis, dtype=torch.int64)

    def update(self, offset: Tensor, variance: Tensor) -> None:
        self.recent, self.lasting, self.spread = self.anchor.update(
            self.recent, self.lasting, self.spread, (offset, variance), self.steps + self.t
        )
        self.t += 1

    def used(self) -> tuple[Tensor, Tensor]:
        return self.anchor.believed(self.recent, self.lasting, self.spread)[0]


def test_update_and_use_equal_the_definition_over_60_frames() -> None:
    fast, slow = Running(), [OneLayer(layer, CONFIG) for layer in _layers()]
    largest = 0.0
    for frame in _frames(40, 0.2) + _frames(20, 1.5, seed=1):
        fast.update(*frame)
        for layer, part in zip(slow, frame.split(SIZES, -1), strict=True):
            layer.update((part[0].tolist(), part[1].tolist()))
        for found, one in ((fast.used(), OneLayer.used), (fast.lasting, lambda s: s.lasting)):
            wanted = [one(layer) for layer in slow]
            for i in range(2):
                expected = [value for stats in wanted for value in stats[i]]
                # The smoothing of Eq. 5 is kept in float32.
                torch.testing.assert_close(
                    found[i], torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5
                )
        largest = max(largest, float(fast.used()[0].abs().max()))
    assert largest > 1  # it did calibrate


def test_streams_together_equal_each_alone() -> None:
    streams = [_frames(30, shift, seed=i) for i, shift in enumerate((0.0, 0.5, 2.0))]
    together, alone = Running(streams=3), [Running() for _ in streams]
    for frames in zip(*streams, strict=True):
        stacked = torch.stack(frames, 1)
        together.update(stacked[0], stacked[1])
        for one, frame in zip(alone, frames, strict=True):
            one.update(*frame)
    for i in range(2):
        wanted = torch.stack([one.used()[i] for one in alone])
        torch.testing.assert_close(together.used()[i], wanted)


def test_without_an_anchor_the_recent_statistics_are_used_as_they_are() -> None:
    fast = Running(dataclasses.replace(CONFIG, anchor=0.0))
    for frame in _frames(20, 0.4):
        fast.update(*frame)
    torch.testing.assert_close(fast.used(), fast.recent)


def test_frames_about_the_source_leave_the_source_statistics_in_use() -> None:
    fast = Running()
    for frame in _frames(400, 0.0):
        frame[1] *= fast.anchor._source
        fast.update(*frame)
    used = fast.used()
    assert float(used[0].abs().max()) < 0.02


def test_a_shift_far_beyond_the_spread_is_followed_within_80_frames() -> None:
    fast = Running()
    for frame in _frames(300, 0.0):
        fast.update(*frame)
    for frame in _frames(80, 3.0, seed=2):
        fast.update(*frame)
    assert float(fast.used()[0].mean()) == pytest.approx(3.0, abs=0.5)


def test_a_scene_that_stands_still_moves_the_statistics_ever_less() -> None:
    fast = Running()
    frames = _frames(600, 0.0)
    for frame in frames[:300]:
        fast.update(*frame)
    moved = []
    for _ in range(3):
        before = fast.lasting[0]
        for _ in range(300):
            fast.update(*frames[300])
        moved.append(float((fast.lasting[0] - before).abs().mean()))
    assert moved[2] < 0.7 * moved[1] < 0.3 * moved[0]


def test_frames_that_differ_keep_moving_them() -> None:
    fast = Running()
    moved = []
    for start in (0.0, 0.5):
        before = fast.lasting[0]
        for frame in _frames(300, start):
            fast.update(*frame)
        moved.append(float((fast.lasting[0] - before).abs().mean()))
    assert moved[1] > 0.3
