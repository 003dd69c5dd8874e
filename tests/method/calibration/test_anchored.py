"""Anchored calibration against its definition written layer by layer, channel by channel."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from edge_tta.config import CalibrationConfig
from edge_tta.method.calibration import Anchored, class_balance, make_calibration
from edge_tta.method.calibration.anchored import (
    FIRST_SPREAD,
    LARGEST,
    LEAST_AMONG_NEIGHBOURS,
    LEAST_VARIANCE,
    SPREAD_SMOOTHING,
    unpacked,
)
from edge_tta.network.program import BatchNorm
from tests.method.calibration.slow_balance import SlowBalance, towards

SIZES = (3, 5)
CLASSES = 4
TABLE = CalibrationConfig(
    kind="anchored",
    smoothing=0.9,
    lasting_smoothing=0.99,
    prior_frames=8,
    anchor=0.8,
    recent_anchor=1.5,
    dead_zone=0.1,
    tracking_rate=0.5,
)

Stats = tuple[list[float], list[float]]
# A frame's means and variances (2, C), and its prediction (CLASSES,).
Frame = tuple[Tensor, Tensor]


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
    """The statistics of one layer, in Python floats."""

    def __init__(self, layer: BatchNorm, table: CalibrationConfig) -> None:
        self.table, self.eps = table, layer.eps
        self.source: list[float] = layer.variance.tolist()
        zeros = [0.0] * len(self.source)
        self.recent: Stats = zeros, self.source
        self.lasting: Stats = zeros, self.source
        self.from_lasting = self.from_recent = FIRST_SPREAD

    def distances(self, a: Stats, b: Stats) -> tuple[float, float]:
        n, eps = len(self.source), self.eps
        means = sum((a[0][c] - b[0][c]) ** 2 / (self.source[c] + eps) for c in range(n)) / n
        logs = sum(math.log((a[1][c] + eps) / (b[1][c] + eps)) ** 2 for c in range(n)) / n
        return means, logs

    def factors(
        self, running: Stats, centre: Stats, anchor_shares: list[float], balance: SlowBalance
    ) -> list[float]:
        """s of the definition, of the means and of the variances."""
        left, among_neighbours = balance.variance_left()
        spread = [far / max(left, LEAST_VARIANCE) for far in self.from_lasting]
        if among_neighbours >= LEAST_AMONG_NEIGHBOURS:
            near = [part / max(among_neighbours, LEAST_VARIANCE) for part in self.from_recent]
            spread = [min(pair) for pair in zip(spread, near, strict=True)]
        shares = [max(share, self.table.dead_zone) for share in anchor_shares]
        parts = zip(self.distances(running, centre), spread, shares, strict=True)
        return [max(0.0, 1 - share * s / d) if d > 0 else 0.0 for d, s, share in parts]

    def between(self, running: Stats, centre: Stats, factors: list[float]) -> Stats:
        variances = [
            (c + self.eps) * ((r + self.eps) / (c + self.eps)) ** factors[1] - self.eps
            for r, c in zip(running[1], centre[1], strict=True)
        ]
        return towards(centre[0], running[0], factors[0]), variances

    def shrunk(self, balance: SlowBalance) -> tuple[Stats, list[float]]:
        """The statistics in use, and the recent ones' shrinkage factors."""
        source = [0.0] * len(self.source), self.source
        share = self.table.anchor * balance.share_of_lasting()
        of_lasting = self.factors(self.lasting, source, [share, share], balance)
        centre = self.between(self.lasting, source, of_lasting)
        shares = [self.table.recent_anchor * balance.share_of_recent(each) for each in of_lasting]
        factors = self.factors(self.recent, centre, shares, balance)
        return self.between(self.recent, centre, factors), factors

    def used(self, balance: SlowBalance) -> Stats:
        return self.shrunk(balance)[0]

    def blend(self, old: Stats, new: Stats, rate: float) -> Stats:
        """By the raw moments of Eq. 5."""
        m = 1 - rate
        offsets = [m * a + rate * b for a, b in zip(old[0], new[0], strict=True)]
        squares = [
            m * (v + a * a) + rate * (w + b * b) for a, v, b, w in zip(*old, *new, strict=True)
        ]
        return offsets, [q - o * o for q, o in zip(squares, offsets, strict=True)]

    def limited(self, frame: Stats) -> Stats:
        """Mean and variance of each channel, no further from the lasting ones than LARGEST."""
        offsets, variances = [], []
        for d, v, about, wide in zip(*frame, *self.lasting, strict=True):
            most = LARGEST * (wide + self.eps)
            offsets.append(about + max(-(most**0.5), min(most**0.5, d - about)))
            variances.append(min(v, most))
        return offsets, variances

    def update(self, t: int, frame: Stats, in_recent: float, in_lasting: float) -> None:
        frame = self.limited(frame)
        rate = max(1 - SPREAD_SMOOTHING, 1 / (t + 2))
        far, near = self.distances(frame, self.lasting), self.distances(frame, self.recent)
        self.from_lasting = tuple(towards([*self.from_lasting], [*far], rate))
        self.from_recent = tuple(towards([*self.from_recent], [*near], rate))
        self.recent = self.blend(self.recent, frame, in_recent)
        self.lasting = self.blend(self.lasting, frame, in_lasting)

    def follow(self, balance: SlowBalance, weight: float) -> list[float]:
        """`lasting` tracks `recent`; how far, of the means and of the variances."""
        part = [self.table.tracking_rate * weight * each for each in self.shrunk(balance)[1]]
        self.lasting = (
            towards(self.lasting[0], self.recent[0], part[0]),
            towards(self.lasting[1], self.recent[1], part[1]),
        )
        return part


class Slow:
    """The definition, frame by frame."""

    def __init__(self, table: CalibrationConfig = TABLE) -> None:
        self.table, self.t = table, 0
        self.balance = SlowBalance(table, CLASSES)
        self.layers = [OneLayer(layer, table) for layer in _layers()]

    def update(self, frame: Frame) -> float:
        """Update with a frame; its class-balance weight."""
        table, t, p = self.table, self.t, frame[1].tolist()
        weight = self.balance.weight(t, p)
        in_recent = max(1 - table.smoothing, 1 / (t + table.prior_frames / 4 + 1))
        in_lasting = weight * max(1 - table.lasting_smoothing, 1 / (t + table.prior_frames + 1))
        self.balance.update(t, p, in_recent, in_lasting)
        # Followed at the mean over channels, of the means' and the variances' together.
        total = 0.0
        for layer, part in zip(self.layers, frame[0].split(SIZES, -1), strict=True):
            layer.update(t, (part[0].tolist(), part[1].tolist()), in_recent, in_lasting)
            total += len(layer.source) * sum(layer.follow(self.balance, weight)) / 2
        share = total / sum(SIZES)
        self.balance.lasting = towards(self.balance.lasting, self.balance.recent, share)
        self.t += 1
        return weight

    def used(self) -> list[Tensor]:
        return self._flat([layer.used(self.balance) for layer in self.layers])

    def lasting(self) -> list[Tensor]:
        return self._flat([layer.lasting for layer in self.layers])

    def _flat(self, stats: list[Stats]) -> list[Tensor]:
        return [
            torch.tensor([x for one in stats for x in one[i]], dtype=torch.float64)
            for i in range(2)
        ]


class Fast:
    """The fast form, carried through a stream."""

    def __init__(self, table: CalibrationConfig = TABLE) -> None:
        program: Any = SimpleNamespace(layers=_layers(), classes=CLASSES)
        calibration = make_calibration(program, table)
        assert isinstance(calibration, Anchored)
        self.calibration = calibration
        self.memory = unpacked(calibration.initial())
        self.source = torch.cat([layer.variance for layer in program.layers])

    def update(self, frame: Frame) -> None:
        statistics, p = frame
        batch = statistics[0], statistics[1]
        self.memory = self.calibration.update(self.memory, batch, p)

    def run(self, frames: list[Frame]) -> Fast:
        for frame in frames:
            self.update(frame)
        return self

    def used(self) -> tuple[Tensor, Tensor]:
        return self.calibration.shrunk(self.memory)[0]


def _prediction(label: int, certainty: float = 0.9) -> Tensor:
    p = torch.full((CLASSES,), (1 - certainty) / (CLASSES - 1), dtype=torch.float64)
    p[label] = certainty
    return p


def _frames(
    count: int, shift: float = 0.0, label: int | None = None, of_class: float = 0.3, seed: int = 0
) -> list[Frame]:
    """Frames whose statistics are about the source's plus `shift`, by `of_class` with the class.

    label: the class of all; None: classes in random order.
    """
    generator = torch.Generator().manual_seed(seed)
    of_patterns = torch.Generator().manual_seed(9)
    patterns = torch.randn((CLASSES, 2, sum(SIZES)), generator=of_patterns, dtype=torch.float64)
    means = of_class * (patterns[:, 0] - patterns[:, 0].mean(0))
    # Over all classes the moments are the source's: what the means differ by is part of it.
    source = torch.cat([layer.variance for layer in _layers()])
    factors = (of_class * patterns[:, 1]).exp()
    variances = (source - means.square().mean(0) - 0.01) * factors / factors.mean(0)
    frames = []
    for _ in range(count):
        drawn = int(torch.randint(CLASSES, (), generator=generator))
        noise = 0.1 * torch.randn((2, sum(SIZES)), generator=generator, dtype=torch.float64)
        here = drawn if label is None else label
        certainty = 0.75 + 0.2 * float(torch.rand((), generator=generator))
        statistics = torch.stack([shift + means[here] + noise[0], variances[here] * noise[1].exp()])
        frames.append((statistics, _prediction(here, certainty)))
    return frames


def test_update_and_use_equal_the_definition_over_110_frames() -> None:
    frames = _frames(40) + _frames(30, label=2, seed=1) + _frames(40, 1.5, seed=2)
    fast, slow = Fast(), Slow()
    weights, largest = [], 0.0
    for frame in frames:
        fast.update(frame)
        weights.append(slow.update(frame))
        # The smoothing of Eq. 5 is kept in float32.
        close = {"rtol": 2e-5, "atol": 2e-5}
        for i in range(2):
            torch.testing.assert_close(fast.used()[i], slow.used()[i], **close)
            torch.testing.assert_close(fast.memory.lasting[i], slow.lasting()[i], **close)
        shown = fast.memory.classes._asdict()
        assert int(shown.pop("frames")) == slow.t
        for name, value in shown.items():
            wanted = torch.tensor(getattr(slow.balance, name), dtype=torch.float64)
            torch.testing.assert_close(value, wanted, **close)
        largest = max(largest, float(fast.used()[0].abs().max()))
    # All of the definition was at work: calibration, and frames that weighed less.
    assert largest > 1
    assert min(weights) < 0.7 < max(weights) == 1


def test_without_anchors_and_dead_zone_the_recent_statistics_are_used_as_they_are() -> None:
    table = dataclasses.replace(TABLE, anchor=0.0, recent_anchor=0.0, dead_zone=0.0)
    fast = Fast(table).run(_frames(20, 0.4, label=1))
    torch.testing.assert_close(fast.used(), fast.memory.recent)


def test_frames_about_the_source_leave_the_source_statistics_in_use() -> None:
    fast = Fast().run(_frames(400))
    offset, variance = fast.used()
    assert float(offset.abs().max()) < 0.02
    torch.testing.assert_close(variance, fast.source, rtol=0.02, atol=0)


@pytest.mark.parametrize("before", [0, 200])
def test_statistics_in_use_stay_at_the_source_in_a_run_of_one_class(before: int) -> None:
    table = CalibrationConfig("anchored", smoothing=0.95, prior_frames=16)
    fast = Fast(table).run(_frames(before)).run(_frames(100, label=1, seed=1))
    assert float(fast.memory.recent[0].abs().mean()) > 0.2  # chance has moved the average
    assert float(fast.used()[0].abs().mean()) < 0.02


def test_a_run_of_one_class_moves_the_lasting_statistics_less_than_its_length_says() -> None:
    # tracking_rate = 0: by the weight of the frames alone.
    table = dataclasses.replace(TABLE, tracking_rate=0.0)
    fast = Fast(table).run(_frames(200))
    before = fast.memory.lasting[0].clone()
    frames = _frames(100, label=1, seed=1)
    fast.run(frames)
    pattern = torch.stack([frame[0][0] for frame in frames]).mean(0) - before
    followed = float((fast.memory.lasting[0] - before) @ pattern / (pattern @ pattern))
    assert 0.1 < followed < 0.8 * (1 - table.lasting_smoothing**100)


@pytest.mark.parametrize("part", [0, 1])
def test_one_frame_out_of_all_proportion_moves_the_statistics_as_one_of_many(part: int) -> None:
    fast = Fast(dataclasses.replace(TABLE, tracking_rate=0.0)).run(_frames(200))
    before = [each.clone() for each in fast.memory.lasting]
    (wild,) = _frames(1, seed=1)
    wild[0][part].add_(1e6)
    fast.update(wild)
    # It weighs some 0.01, and counts for 32 standard variances at most.
    assert float((fast.memory.lasting[0] - before[0]).abs().max()) < 0.1
    assert float((fast.memory.lasting[1] / before[1]).max()) < 1.7
    fast.run(_frames(100, seed=2))
    offset, variance = fast.used()
    assert float(offset.abs().max()) < 0.3
    torch.testing.assert_close(variance, fast.source, rtol=0.4, atol=0)


def test_a_shift_far_beyond_the_spread_is_followed_within_80_frames() -> None:
    fast = Fast().run(_frames(300)).run(_frames(80, 3.0, seed=2))
    assert float(fast.used()[0].mean()) == pytest.approx(3.0, abs=0.5)
    # The lasting statistics have tracked them: by their own smoothing they would be at 1.7.
    assert float(fast.memory.lasting[0].mean()) == pytest.approx(3.0, abs=0.5)


def test_a_shift_in_a_run_of_one_class_is_followed() -> None:
    fast = Fast().run(_frames(200)).run(_frames(60, 3.0, label=1, seed=2))
    assert float(fast.used()[0].mean()) > 2


def test_a_shift_is_followed_though_the_network_names_one_class_from_the_first_frame_on() -> None:
    """A strong disturbance makes a network see one class everywhere, more or less surely."""
    frames = [
        (frame, 0.8 * _prediction(1, certainty) + 0.2 * p)
        for (frame, p), certainty in zip(
            _frames(80, 3.0), torch.linspace(0.4, 1, 10).repeat(8).tolist(), strict=True
        )
    ]
    fast = Fast(CalibrationConfig("anchored", smoothing=0.95, prior_frames=16)).run(frames)
    assert int(fast.memory.classes.frequency.argmax()) == 1
    assert float(class_balance.share_in_lasting(fast.memory.classes)) > 0.4
    assert float(fast.used()[0].mean()) > 1.5


def test_a_picture_that_stands_still_moves_nothing_however_its_answers_waver() -> None:
    generator = torch.Generator().manual_seed(0)
    (picture,) = _frames(1, label=1)
    fast = Fast(CalibrationConfig("anchored", smoothing=0.95, prior_frames=16))
    for _ in range(300):
        noise = 0.02 * torch.randn(picture[0].shape, generator=generator, dtype=torch.float64)
        certainty = 0.4 + 0.55 * float(torch.rand((), generator=generator))
        fast.update((picture[0] + noise, _prediction(1, certainty)))
    assert float(fast.memory.recent[0].abs().mean()) > 0.2
    assert float(fast.used()[0].abs().mean()) < 0.05


@pytest.mark.parametrize(("dead_zone", "moved"), [(0.3, [1, 1]), (1.0, [0, 1]), (4.0, [0, 0])])
def test_various_frames_prove_only_a_distance_beyond_the_dead_zone(
    dead_zone: float, moved: list[int]
) -> None:
    table = dataclasses.replace(TABLE, dead_zone=dead_zone, recent_anchor=1e6)
    fast = Fast(table).run(_frames(600, 0.35))
    # The shift is 0.58 of the spread of single frames in one layer, 2.2 of it in the other.
    source = torch.zeros_like(fast.source), fast.source
    gaps = fast.calibration._gaps(fast.memory.lasting, source)
    of_means = fast.calibration._layer_means(*gaps)[: len(SIZES)]
    ratio = of_means / fast.calibration._spread(fast.memory)[: len(SIZES)]
    assert 0.3 < float(ratio[0]) < 1.0 < float(ratio[1]) < 4.0
    means = [float(layer.mean()) for layer in fast.used()[0].split(SIZES)]
    for value, expected in zip(means, moved, strict=True):
        assert (value > 0.1) if expected else (value == 0)


def test_a_layer_stays_at_the_source_while_the_other_is_calibrated() -> None:
    frames = _frames(200)
    for statistics, _ in frames:
        statistics[0, SIZES[0] :] += 2.0
    fast = Fast(CalibrationConfig("anchored", smoothing=0.95, prior_frames=16)).run(frames)
    first, second = fast.used()[0].split(SIZES)
    assert float(first.abs().max()) < 0.02
    assert float(second.mean()) == pytest.approx(2.0, abs=0.3)


def test_no_variance_is_ever_negative() -> None:
    generator = torch.Generator().manual_seed(3)
    fast = Fast()
    for statistics, p in _frames(300, seed=4):
        size = 10 ** (4 * torch.rand((), generator=generator, dtype=torch.float64) - 2)
        # Frames of one colour have no variance at all.
        flat = float(torch.rand((), generator=generator) > 0.3)
        fast.update((torch.stack([size * statistics[0], flat * statistics[1]]), p))
        for variance in (fast.used()[1], fast.memory.recent[1], fast.memory.lasting[1]):
            assert float(variance.min()) >= 0
    assert all(bool(torch.isfinite(part).all()) for part in (*fast.used(), *fast.memory[2:4]))
