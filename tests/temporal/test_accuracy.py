"""The estimated accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_tta.probability import softmax
from edge_tta.temporal import AccuracyEstimate, Belief, ClassFilter
from edge_tta.temporal.accuracy import (
    LEAST_FRAMES,
    MEMORY,
    SURE_ERROR,
    Accuracy,
    in_words,
    threshold,
    wilson,
)


def _stream(run: int, signal: float, seed: int, frames: int = 900, classes: int = 10) -> Any:
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, classes, frames // run), run)
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += signal
    return labels, logits


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("signal", [2.0, 3.0])
def test_in_runs_it_is_near_however_sure_the_network_is(signal: float, scale: float) -> None:
    """The network's own certainty is far off: it depends on `scale`, and its errors do not."""
    labels, logits = _stream(20, signal, 0)
    by_filter, estimate = ClassFilter(10), AccuracyEstimate()
    answers = []
    for row in logits:
        belief = by_filter.update(scale * row)
        estimate.add(belief, softmax(scale * row))
        answers.append(int(belief.p.argmax()))
    late = slice(-MEMORY, None)
    frames, of_answers = estimate.of_frames(), estimate.of_answers()
    assert frames is not None
    assert of_answers is not None
    accuracy = float(np.mean(logits.argmax(1)[late] == labels[late]))
    assert frames.value == pytest.approx(accuracy, abs=0.1)
    assert frames.low <= accuracy <= frames.high
    filtered = float(np.mean(np.array(answers)[late] == labels[late]))
    assert of_answers.value == pytest.approx(filtered, abs=0.1)
    assert of_answers.low <= filtered <= of_answers.high


def test_in_random_order_it_is_unknown() -> None:
    _, logits = _stream(1, 2.0, 0)
    by_filter, estimate = ClassFilter(10), AccuracyEstimate()
    for row in logits:
        estimate.add(by_filter.update(row), softmax(row))
    assert estimate.of_frames() is None
    assert estimate.of_answers() is None


def test_a_few_frames_are_too_few_and_a_reset_forgets() -> None:
    estimate, belief = AccuracyEstimate(), Belief(np.array([0.8, 0.2], np.float32), 0.1, 4.0)
    for _ in range(LEAST_FRAMES - 1):
        estimate.add(belief, np.array([0.4, 0.6]))
    assert estimate.of_frames() is None
    estimate.add(belief, np.array([0.4, 0.6]))
    assert estimate.of_frames() is not None
    assert estimate.of_frames().value == pytest.approx(0.2)
    assert estimate.of_answers() is not None
    assert estimate.of_answers().value == pytest.approx(0.8)
    # A class that stays for four frames counts once.
    assert estimate.of_answers()[1:] == pytest.approx(wilson(0.8, LEAST_FRAMES / 4))


@pytest.mark.parametrize(
    ("believed", "doubt", "value", "lower"),
    [(0.9, 0.0, 0.9, 0.0), (0.9, 0.3, 0.75, 0.3), (0.1, 0.3, 0.0, 1.0)],
)
def test_half_of_a_doubt_is_taken_off_the_estimate_and_all_of_it_off_its_lower_end(
    believed: float, doubt: float, value: float, lower: float
) -> None:
    estimate = AccuracyEstimate()
    belief = Belief(np.array([believed, 1 - believed], np.float32), 0.1, 1.0)
    for _ in range(LEAST_FRAMES):
        estimate.add(belief, np.array([0.6, 0.4]))
    low, high = wilson(believed, LEAST_FRAMES)
    expected = (value, max(low - lower, 0.0), high)
    assert estimate.of_frames(doubt) == pytest.approx(expected, abs=1e-6)


def test_in_random_order_it_is_the_share_of_frames_that_are_surer_than_source_frames() -> None:
    belief = Belief(np.array([0.8, 0.2], np.float32), 0.9, 1.0)
    sure_above = threshold(np.linspace(0.5, 1.0, 401).tolist(), 0.7)
    assert sure_above == pytest.approx(0.65)
    estimate = AccuracyEstimate(sure_above=sure_above)
    for frames, sure in enumerate(np.resize([True, True, False, True], MEMORY)):
        assert (estimate.of_frames() is None) == (frames < LEAST_FRAMES)
        estimate.add(belief, np.array([0.9, 0.1] if sure else [0.4, 0.6]))
    low, high = wilson(0.75, MEMORY)
    expected = (0.75, low - SURE_ERROR, high + SURE_ERROR)
    # What is believed is no part of it, and neither is what contradicts that.
    for of_frames in (estimate.of_frames(), estimate.of_answers(), estimate.of_frames(0.5)):
        assert of_frames == pytest.approx(expected)
    # The source, to which a guard falls back, is sure where it is wrong.
    assert estimate.of_frames(adapting=False) is None


def test_a_threshold_can_be_passed_and_is_a_number() -> None:
    assert threshold([1.0] * 60 + [0.5] * 40, 0.5) < 1
    assert threshold([float("nan"), 0.2, 0.4], 0.5) == pytest.approx(0.3)


def test_in_words() -> None:
    estimate = AccuracyEstimate()
    assert in_words(estimate.of_answers()) == "unknown"
    for _ in range(400):
        estimate.add(Belief(np.array([0.9, 0.1], np.float32), 0.0, 3.0), np.array([0.9, 0.1]))
    assert in_words(estimate.of_answers()) == "90.0% (83 to 94)"
    assert in_words(Accuracy(0.9, 0.25, 1.0)) == "somewhere from 25 to 100%"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_interval_holds_its_share(share: float) -> None:
    for n in range(1, 2000):
        low, high = wilson(share, n)
        assert 0 <= low <= share <= high <= 1
