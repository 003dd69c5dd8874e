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
    # Surer than 0.65 and wrong: 0.7 (1 - 0.825); right and less sure: 0.3 x 0.575.
    half = 1.96 * np.sqrt((0.7 * 0.175 + 0.3 * 0.575) / 401)
    assert sure_above.value == pytest.approx(0.65)
    assert sure_above[1:] == pytest.approx((0.65 - half / 2, 0.65 + half / 2), abs=1e-3)
    estimate = AccuracyEstimate(sure_above=sure_above)
    # Of five frames one is not even above the threshold's lower end, and one above its upper end.
    between = (sure_above.low + sure_above.value) / 2, (sure_above.value + sure_above.high) / 2
    for frames, sure in enumerate(np.resize([0.9, *between, 0.5, between[1]], MEMORY)):
        assert (estimate.of_frames() is None) == (frames < LEAST_FRAMES)
        estimate.add(belief, np.array([sure, 1 - sure]))
    expected = (0.6, wilson(0.2, MEMORY)[0] - SURE_ERROR, wilson(0.8, MEMORY)[1] + SURE_ERROR)
    # What is believed is no part of it, and neither is what contradicts that.
    for of_frames in (estimate.of_frames(), estimate.of_answers(), estimate.of_frames(0.5)):
        assert of_frames == pytest.approx(expected)
    # The source, to which a guard falls back, is sure where it is wrong.
    assert estimate.of_frames(adapting=False) is None


def test_a_threshold_can_be_passed_and_is_a_number() -> None:
    assert max(threshold([1.0] * 60 + [0.5] * 40, 0.5)) < 1
    assert threshold([float("nan"), 0.2, 0.4], 0.5).value == pytest.approx(0.3)


@pytest.mark.parametrize(("doubt", "frames"), [(0.5, 50), (0.5, 500), (0.1, 50), (0.1, 500)])
def test_the_interval_of_a_threshold_holds_that_of_many_frames(doubt: float, frames: int) -> None:
    """Of a network that is as sure as it is right, in 90 or 98 %; frames drawn at random."""
    rng = np.random.default_rng(0)
    many = 1 - doubt * rng.uniform(size=100_000) ** 4
    wanted = threshold(many.tolist(), float(many.mean())).value
    inside, between = [], []
    for _ in range(400):
        largest = 1 - doubt * rng.uniform(size=frames) ** 4
        right = rng.uniform(size=frames) < largest
        given = threshold(largest.tolist(), float(right.mean()))
        inside.append(given.low <= wanted <= given.high)
        between.append(((many > given.low) & (many <= given.high)).mean())
    assert np.mean(inside) > 0.92
    assert np.mean(between) < 1.6 / np.sqrt(frames)


def test_the_interval_of_a_threshold_that_all_frames_are_above_is_open() -> None:
    surest = np.linspace(0.98, 1.0, 50).tolist()
    assert threshold(surest, 1.0) == (0.98, 0.0, pytest.approx(0.9815, abs=1e-3))
    assert threshold(surest, 0.0).high == np.nextafter(1.0, 0.0)


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
