"""The judge against its equations, one number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_tta.guard.judge import CREDIT, INFORMATION, MEMORY, WIDTH, Judge
from edge_tta.temporal import ClassFilter, Novelty
from edge_tta.temporal.novelty import block_means

RNG = np.random.default_rng(3)


def _mutual_information(logits: np.ndarray) -> float:
    """Of frames and classes, by sums over all of them."""
    rows = [[math.exp(v) / sum(math.exp(u) for u in row) for v in row] for row in logits]
    total = 0.0
    for k in range(logits.shape[1]):
        mean = sum(row[k] for row in rows) / len(rows)
        total += sum(row[k] * math.log(row[k] / mean) for row in rows) / len(rows)
    return total


@pytest.mark.parametrize("run", [1, 10])
def test_advantage_is_that_of_the_equations(run: int) -> None:
    classes = RNG.integers(0, 5, MEMORY // run).repeat(run)
    pictures = RNG.normal(size=(MEMORY, 3, 8, 8)).astype(np.float32)
    adapted, source = (
        RNG.normal(size=(2, MEMORY, 5)) + np.eye(5)[classes] * [[[4]], [[1]]]
    ).astype(np.float32)
    judge, novelty, filters = Judge(5), Novelty(), (ClassFilter(5), ClassFilter(5))
    believed: list[list[float]] = [[], []]
    alone: list[float] = []
    for picture, *rows in zip(pictures, adapted, source, strict=True):
        blocks = block_means(picture)
        judge.compare(blocks, *rows)
        news = novelty.update(blocks)
        for i, (by_filter, row) in enumerate(zip(filters, rows, strict=True)):
            belief = by_filter.update(row, novelty=news)
            believed[i].append(float(belief.p[row.argmax()]))
            alone.append(belief.alone)
    expected = (1 - np.mean(alone)) * (np.mean(believed[1]) - np.mean(believed[0]))
    expected += INFORMATION * (_mutual_information(source) - _mutual_information(adapted))
    assert judge.advantage == pytest.approx(expected, abs=1e-6)
    assert judge.weight == pytest.approx(1 / (1 + math.exp(-(expected - CREDIT) / WIDTH)))
    differ = np.mean(adapted.argmax(1) != source.argmax(1))
    assert judge.disagreement == pytest.approx(differ)
    admitted = 2 - np.mean(believed[0]) - np.mean(believed[1])
    assert judge.contradiction == pytest.approx(max(differ - admitted, 0), abs=1e-6)
    # In runs of one class neighbours tell something.
    assert (np.mean(alone) < 0.9) == (run > 1)


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


def test_what_is_not_finite_tells_nothing() -> None:
    judge = Judge(3)
    blocks = np.zeros((3, 4, 4))
    judge.compare(blocks, np.array([np.nan, 0, 0]), np.array([1.0, 0, 0]))
    judge.compare(blocks, np.array([1.0, 0, 0]), np.array([np.inf, 0, 0]))
    assert judge.advantage == 0
