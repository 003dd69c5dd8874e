"""Predictions read from logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_tta.tasks import Classes, Reading
from edge_tta.tasks import classification as reading


def read_logits(logits: npt.NDArray[Any]) -> Reading:
    """Their reading, without names of classes."""
    return reading.read_logits(logits, Classes(len(logits)))


def _softmax_and_entropy(logits: list[float]) -> tuple[list[float], float]:
    """By the definition, in the log domain: log p_i = z_i - log sum_j exp z_j."""
    top = max(logits)
    log_total = top + math.log(math.fsum(math.exp(z - top) for z in logits))
    logs = [z - log_total for z in logits]
    probabilities = [math.exp(value) for value in logs]
    terms = [p * value for p, value in zip(probabilities, logs, strict=True) if p > 0]
    return probabilities, -math.fsum(terms)


@pytest.mark.parametrize(
    "logits",
    [
        [0.0, 0.0, 0.0],
        [1.0, 2.0, 3.0, -4.0],
        [1000.0, 1001.0, 999.0],
        [-1000.0, -1001.0],
        [50.0, -50.0, 0.0],
        [0.0, 800.0],
        [float("-inf"), 1.0, 2.0],
    ],
    ids=str,
)
def test_confidence_and_entropy_are_those_of_the_softmax(logits: list[float]) -> None:
    reading = read_logits(np.array(logits))
    probabilities, entropy = _softmax_and_entropy(logits)
    assert reading.index == probabilities.index(max(probabilities))
    assert reading.confidence == pytest.approx(max(probabilities), rel=1e-12)
    assert reading.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-12)
    assert reading.entropy_share == pytest.approx(entropy / math.log(len(logits)), abs=1e-12)


def test_float32_logits_are_read_in_double_precision() -> None:
    logits = np.linspace(-3, 3, 1000).astype(np.float32)
    _, entropy = _softmax_and_entropy([float(value) for value in logits])
    assert read_logits(logits).entropy == pytest.approx(entropy, rel=1e-12)


def test_even_logits_have_the_largest_entropy() -> None:
    assert read_logits(np.zeros(12)).entropy_share == pytest.approx(1.0)


def test_one_class_is_certain() -> None:
    reading = read_logits(np.array([-7.5]))
    assert (reading.index, reading.confidence) == (0, 1.0)
    assert (reading.entropy, reading.entropy_share) == (0.0, 0.0)


@pytest.mark.parametrize(
    "logits",
    [[math.nan, 1.0], [1.0, math.inf, 0.0], [math.inf, math.inf], [-math.inf, -math.inf]],
    ids=str,
)
def test_logits_that_are_not_finite_give_no_confidence(logits: list[float]) -> None:
    reading = read_logits(np.array(logits, np.float32))
    assert 0 <= reading.index < len(logits)
    assert math.isnan(reading.confidence)
    assert math.isnan(reading.entropy)
    assert math.isnan(reading.entropy_share)


def test_logits_are_not_changed() -> None:
    logits = np.array([1.0, 2.0])
    read_logits(logits)
    np.testing.assert_array_equal(logits, [1.0, 2.0])


def test_a_class_without_a_name_is_called_by_its_number() -> None:
    assert Classes(3, ("cat", "dog")).name(1) == "dog"
    assert Classes(3, ("cat", "dog")).name(2) == "class 2"
    assert Classes(1).name(0) == "class 0"
