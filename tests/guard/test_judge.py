"""The judge against its equations, one number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_tta.guard.judge import (
    CREDIT,
    INFORMATION,
    LONG_MEMORY,
    MEMORY,
    WIDTH,
    Judge,
    _agreed,
)
from edge_tta.temporal import ClassFilter, Novelty
from edge_tta.temporal.novelty import block_means

RNG = np.random.default_rng(3)


def _shares(frames: int, memory: int) -> list[float]:
    """Of each frame in a mean: even until `memory` have come, then the latest has 1 / memory."""
    shares: list[float] = []
    for i in range(frames):
        latest = 1 / min(i + 1, memory)
        shares = [share * (1 - latest) for share in shares] + [latest]
    return shares


def _mutual_information(logits: np.ndarray, memory: int) -> float:
    """Of frames and classes: H(mean p) over a memory, less mean H(p) over the short one."""
    rows = [[math.exp(v) / sum(math.exp(u) for u in row) for v in row] for row in logits]
    total = 0.0
    for share, row in zip(_shares(len(rows), MEMORY), rows, strict=True):
        total += share * sum(p * math.log(p) for p in row)
    for k in range(logits.shape[1]):
        shares = _shares(len(rows), memory)
        mean = sum(share * row[k] for share, row in zip(shares, rows, strict=True))
        total -= mean * math.log(mean)
    return total


@pytest.mark.parametrize(("run", "frames"), [(1, MEMORY), (10, MEMORY), (1, 60), (120, 240)])
def test_advantage_is_that_of_the_equations(run: int, frames: int) -> None:
    classes = RNG.permutation(5).repeat(run)[:frames]
    if run == 1:
        classes = RNG.integers(0, 5, frames)
    pictures = RNG.normal(size=(frames, 3, 8, 8)).astype(np.float32)
    adapted, source = (
        RNG.normal(size=(2, frames, 5)) + np.eye(5)[classes] * [[[6]], [[1]]]
    ).astype(np.float32)
    judge, novelty, filters = Judge(5), Novelty(), (ClassFilter(5, 10), ClassFilter(5, 10))
    believed: list[list[float]] = [[], []]
    alone: list[float] = []
    for picture, *rows in zip(pictures, adapted, source, strict=True):
        blocks = block_means(picture)
        judge.compare(blocks, *rows)
        news = novelty.update(blocks)
        beliefs = [f.update(row, novelty=news) for f, row in zip(filters, rows, strict=True)]
        for i, (belief, row) in enumerate(zip(beliefs, rows, strict=True)):
            believed[i].append(float(belief.p[row.argmax()]))
        alone.append((beliefs[0].alone + beliefs[1].alone) / 2)
    short, long = _shares(frames, MEMORY), _shares(frames, LONG_MEMORY)
    expected = (1 - np.dot(short, alone)) * np.dot(short, np.subtract(believed[1], believed[0]))
    told = [
        _mutual_information(source, memory) - _mutual_information(adapted, memory)
        for memory in (MEMORY, LONG_MEMORY)
    ]
    if np.sign(told[0]) == np.sign(told[1]):
        expected += INFORMATION * min(told, key=abs)
    # In a run of one class a network in doubt says more classes; over several runs it does not.
    assert (told[0] > 0) == (run == 120)
    assert told[1] < 0
    assert judge.advantage == pytest.approx(expected, abs=1e-5)
    assert judge.weight == pytest.approx(1 / (1 + math.exp(-(expected - CREDIT) / WIDTH)))
    differ = adapted.argmax(1) != source.argmax(1)
    assert judge.disagreement == pytest.approx(np.dot(short, differ))
    contradicted = np.dot(long, differ - (2 - np.add(*believed)))
    assert judge.contradiction == pytest.approx(max(contradicted, 0), abs=1e-6)
    # In runs of one class neighbours tell something.
    assert (np.dot(short, alone) < 0.9) == (run > 1)


@pytest.mark.parametrize(
    ("short", "long", "told"),
    [
        (0.1, 0.3, 0.1),
        (0.3, 0.1, 0.1),
        (-0.1, -0.3, -0.1),
        (-0.3, -0.1, -0.1),
        (-1, 1, 0),
        (2, 0, 0),
    ],
)
def test_of_two_memories_the_one_nearer_to_0_tells(short: float, long: float, told: float) -> None:
    assert _agreed(np.array([short, long])) == told


def test_networks_that_differ_are_not_both_believed() -> None:
    judge = Judge(4)
    pictures = np.random.default_rng(0).normal(size=(200, 3, 8, 8)).astype(np.float32)
    for i, picture in enumerate(pictures):  # each sure of a class of its own, for long
        adapted, source = (12 * np.eye(4)[(i // 20 + shift) % 4] for shift in (0, 1))
        judge.compare(block_means(picture), adapted, source)
    assert judge.contradiction > 0.8
    assert judge.adapted.accuracy.mean_of_frames > 0.9
    for estimate in (judge.accuracy, judge.source_accuracy):
        assert estimate is not None
        assert estimate.value < 0.6
        assert estimate.low < 0.2
        assert estimate.high > 0.9


def test_mistakes_that_nobody_admits_are_the_networks_that_is_right_less_often() -> None:
    judge = Judge(4)
    pictures = np.random.default_rng(0).normal(size=(200, 3, 8, 8)).astype(np.float32)
    for i, picture in enumerate(pictures):  # the source says two classes of four, as surely
        adapted, source = (12 * np.eye(4)[i // 20 % classes] for classes in (4, 2))
        judge.compare(block_means(picture), adapted, source)
    assert judge.weight < 0.1
    assert judge.contradiction > 0.3
    of_adapted, of_source = judge.accuracy, judge.source_accuracy
    assert of_adapted is not None
    assert of_source is not None
    assert of_adapted.value == pytest.approx(1 - judge.contradiction / 2, abs=0.05)
    assert of_source.value == pytest.approx(1 - judge.contradiction, abs=0.1)
    assert of_source.low == pytest.approx(0, abs=0.1)


def test_what_is_not_finite_tells_nothing() -> None:
    judge = Judge(3)
    blocks = np.zeros((3, 4, 4))
    judge.compare(blocks, np.array([np.nan, 0, 0]), np.array([1.0, 0, 0]))
    judge.compare(blocks, np.array([1.0, 0, 0]), np.array([np.inf, 0, 0]))
    assert judge.advantage == 0
