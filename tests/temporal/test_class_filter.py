"""The class filter against an enumeration of all class sequences, and its properties."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edge_tta.temporal import ClassFilter
from edge_tta.temporal.class_filter import (
    ALONE,
    DRIFTS,
    GROWTH,
    PRIOR_FRAMES,
    PRIOR_MEMORY,
    SHARE,
    STAYS,
    TEMPERATURES,
)


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def _usual(prior: Any, recent: Any, alone: float) -> Any:
    """How often each class is said whatever is seen, (C,), from its long and its short mean, and
    the mean weight of taking a frame alone."""
    growth = sorted(r / p for r, p in zip(recent, prior, strict=True))
    half = len(growth) // 2
    median = growth[half] if len(growth) % 2 else (growth[half - 1] + growth[half]) / 2
    raised = [
        max(p, min(r, GROWTH * median * p, (1 - r) / (len(growth) - 1)))
        for r, p in zip(recent, prior, strict=True)
    ]
    usual = [alone * r + (1 - alone) * p for r, p in zip(raised, prior, strict=True)]
    return np.array(usual) / sum(usual)


def _enumerated(logits: Any, intervals: Any) -> Any:
    """Answers (frames, C): sums over all sequences of classes, model by model.

    Novelty is 1. What a model believes of frame t is the sum over all sequences up to t of the
    sequence's probability times the product of its likelihoods; its evidence of a frame is the
    ratio of two such sums. What is usual changes from frame to frame and is that before the frame.
    """
    frames, classes = logits.shape
    models = list(itertools.product(TEMPERATURES, STAYS))
    means = {temperature: np.full(classes, 1 / classes) for temperature in TEMPERATURES}
    recent = dict(means)
    usual: dict[float, list[Any]] = {temperature: [] for temperature in TEMPERATURES}
    sums = dict.fromkeys(models, 1.0)
    drifts = list(itertools.product(TEMPERATURES, DRIFTS))
    first = {model: (1 - ALONE) / len(models) for model in models}
    first |= {("drift", *drift): ALONE / 2 / len(drifts) for drift in drifts}
    first["alone"] = ALONE / 2
    weights, answers, mean_alone = dict(first), [], 1.0
    for t in range(frames):
        for temperature in TEMPERATURES:
            usual[temperature].append(_usual(means[temperature], recent[temperature], mean_alone))
        beliefs = {}
        for temperature, stay in models:
            by_class = np.zeros(classes)
            # The class before the first frame is as the uniform belief at the start says.
            for before, *sequence in itertools.product(range(classes), repeat=t + 2):
                probability, last = 1 / classes, before
                for i, now in enumerate(sequence):
                    prior = usual[temperature][i]
                    s = stay ** intervals[i]
                    probability *= s * (now == last) + (1 - s) * prior[now]
                    p = _softmax(logits[i] / temperature)
                    probability *= (p / prior)[now] / (prior * (p / prior)).sum()
                    last = now
                by_class[last] += probability
            model = temperature, stay
            weights[model] *= by_class.sum() / sums[model] * np.exp(-0.05)
            sums[model] = by_class.sum()
            beliefs[model] = by_class / by_class.sum()
        for temperature, memory in drifts:
            p, prior = _softmax(logits[t] / temperature), usual[temperature][t]
            expected = np.full(classes, 1 / classes)
            for row in logits[:t]:
                expected = expected + (_softmax(row / temperature) - expected) / memory
            weights["drift", temperature, memory] *= (expected * p / prior).sum() / p.sum()
        total = sum(weights.values())
        weights = {m: (1 - SHARE) * w / total + SHARE * first[m] for m, w in weights.items()}
        stays = sum(weights[m] * beliefs[m] for m in models)
        alone = sum(w for m, w in weights.items() if m not in beliefs)
        answers.append(alone * _softmax(logits[t]) + stays)
        rate = 1 / min(PRIOR_FRAMES + t, PRIOR_MEMORY)
        mean_alone += rate * (alone - mean_alone)
        for temperature in TEMPERATURES:
            p = _softmax(logits[t] / temperature)
            means[temperature] = means[temperature] + rate * (p - means[temperature])
            recent[temperature] = recent[temperature] + (p - recent[temperature]) / 10
    return np.array(answers)


@pytest.mark.parametrize("seed", range(2))
def test_it_sums_over_all_sequences_of_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(6, 2)) * 3
    intervals = rng.uniform(0.5, 4, 6)
    by_filter = ClassFilter(2)
    answers = [
        by_filter.update(row, interval=time).p for row, time in zip(logits, intervals, strict=True)
    ]
    np.testing.assert_allclose(answers, _enumerated(logits, intervals), rtol=2e-5)


def _plain(logits: Any, novelties: Any, intervals: Any, prior_frames: float) -> Any:
    """The equations of the module, one number at a time: answers (frames, C), the weight of taking
    a frame alone, the frames that a class is expected to stay, and the evidence so far."""
    classes = len(logits[0])
    models = [(t, s) for t in TEMPERATURES for s in STAYS]
    beliefs = {m: [1 / classes] * classes for m in models}
    priors = {t: [1 / classes] * classes for t in TEMPERATURES}
    recent = {(t, d): [1 / classes] * classes for t in TEMPERATURES for d in DRIFTS}
    seen = prior_frames
    first: dict[Any, float] = dict.fromkeys(models, (1 - ALONE) / len(models))
    first |= dict.fromkeys((("drift", *key) for key in recent), ALONE / 2 / len(recent))
    first["alone"] = ALONE / 2
    weights, answers, others = dict(first), [], []
    pace, all_evidence, mean_alone = 1.0, 1.0, 1.0
    for row, novelty, interval in zip(logits, novelties, intervals, strict=True):
        evidence: dict[Any, float] = {"alone": 1.0}
        for t, s in models:
            p, prior = _softmax(np.array(row) / t), _usual(priors[t], recent[t, 10], mean_alone)
            like = [(p[k] / prior[k]) ** novelty**0.5 for k in range(classes)]
            scale = sum(prior[k] * like[k] for k in range(classes))
            fade = 1 - 0.3 * (1 - novelty)
            old = [prior[k] * (beliefs[t, s][k] / prior[k]) ** fade for k in range(classes)]
            stay = s ** (novelty * interval)
            joint = [
                (stay * old[k] / sum(old) + (1 - stay) * prior[k]) * like[k] / scale
                for k in range(classes)
            ]
            evidence[t, s] = sum(joint) * np.exp(-(0.05 + 2.5e-4 * max(0, classes - 10)) * novelty)
            beliefs[t, s] = [value / sum(joint) for value in joint]
            for d in DRIFTS:
                drifted = sum(recent[t, d][k] * like[k] / scale for k in range(classes))
                evidence["drift", t, d] = drifted
        rate = novelty / min(seen, PRIOR_MEMORY)
        for t in TEMPERATURES:
            p = _softmax(np.array(row) / t)
            priors[t] = [prior + rate * (q - prior) for prior, q in zip(priors[t], p, strict=True)]
            for d in DRIFTS:
                recent[t, d] = [
                    r + novelty / d * (q - r) for r, q in zip(recent[t, d], p, strict=True)
                ]
        seen += novelty
        total = sum(weights[m] * evidence[m] for m in weights)
        all_evidence *= total
        weights = {
            m: (1 - SHARE) * w * evidence[m] / total + SHARE * first[m] for m, w in weights.items()
        }
        alone = sum(w for m, w in weights.items() if m not in beliefs)
        mean_alone += rate * (alone - mean_alone)
        stays = sum(weights[m] * np.array(beliefs[m]) for m in models)
        answers.append(alone * _softmax(np.array(row)) + stays)
        pace += (novelty - pace) / 50
        lengths = {s: 1 / (1 - s**pace) for s in STAYS}
        expected = alone + sum(weights[t, s] * lengths[s] for t, s in models)
        others.append((alone, expected, np.log(all_evidence)))
    return answers, others


def _check_against_plain(
    logits: Any, novelties: Any, intervals: Any, prior_frames: float
) -> ClassFilter:
    by_filter, answers, others = ClassFilter(logits.shape[1], prior_frames), [], []
    for row, novelty, interval in zip(logits, novelties, intervals, strict=True):
        belief = by_filter.update(row, novelty=novelty, interval=interval)
        answers.append(belief.p)
        others.append((belief.alone, belief.stay, by_filter.log_evidence))
    plain, plain_others = _plain(logits, novelties, intervals, prior_frames)
    np.testing.assert_allclose(answers, plain, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(others, plain_others, rtol=1e-4, atol=1e-5)
    return by_filter


@pytest.mark.parametrize(("classes", "prior_frames"), [(5, 10.0), (60, 50.0)])
def test_novelty_and_time_weigh_likelihood_memory_and_stay(
    classes: int, prior_frames: float
) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, classes)) * 4
    novelties, intervals = rng.uniform(0.02, 1, 40), rng.uniform(0.3, 5, 40)
    _check_against_plain(logits, novelties, intervals, prior_frames)


def test_where_neighbours_have_long_told_what_is_usual_is_the_prior() -> None:
    _, logits = _stream(20, 200, 5, 2.0, 0)
    novelties = np.random.default_rng(0).uniform(0.4, 1, 200)
    by_filter = _check_against_plain(2 * logits, novelties, np.ones(200), 10.0)
    assert by_filter._prior.alone < 0.4


def test_preferences_that_change_are_no_stay_of_one_class_in_a_thousand() -> None:
    rng = np.random.default_rng(1)
    by_filter, others = ClassFilter(1000), 0
    before, after = rng.normal(size=(2, 1000)) * 0.5
    for frame in range(600):
        row = rng.normal(size=1000) * 1.5 + (before if frame < 300 else after)
        row[rng.integers(1000)] += 8
        others += int(by_filter.update(row).p.argmax() != row.argmax())
    assert others < 20  # 248 with the toll of ten classes


@pytest.mark.parametrize("seed", range(8))
def test_it_costs_no_more_than_a_constant_against_the_frames_alone(seed: int) -> None:
    """Whatever the stream: a bound of the fixed-share forecaster."""
    rng = np.random.default_rng(seed)
    by_filter = ClassFilter(7)
    scale = rng.choice([0.1, 3, 30])
    run = int(rng.choice([1, 1, 2, 9]))
    for n in range(1, 400):
        row = rng.normal(size=7) * scale
        row[(n // run) % 7] += scale
        by_filter.update(
            row,
            novelty=float(rng.uniform()) if seed % 2 else 1.0,
            interval=float(rng.exponential(3)) if seed % 3 else 1.0,
        )
        assert by_filter.log_evidence >= np.log(ALONE / 2) + n * np.log1p(-SHARE) - 1e-4 * n


def _stream(run: int, frames: int, classes: int, signal: float, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, classes, frames // run), run)
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += signal
    return labels, logits


def _wrong(classes: int, run: int, signal: float) -> tuple[float, float]:
    """Shares of wrong answers in eight streams of runs of one class: filtered, frame by frame."""
    shares = []
    for seed in range(8):
        labels, logits = _stream(run, 600, classes, signal, seed)
        by_filter = ClassFilter(classes)
        filtered = np.array([by_filter.update(row).p.argmax() for row in logits])
        shares.append(((filtered != labels).mean(), (logits.argmax(1) != labels).mean()))
    filtered, raw = np.mean(shares, 0)
    return filtered, raw


@pytest.mark.parametrize(
    ("classes", "run", "left"), [(10, 20, 0.25), (10, 300, 0.36), (100, 30, 0.15)]
)
def test_runs_of_one_class_are_told_far_better_than_frame_by_frame(
    classes: int, run: int, left: float
) -> None:
    filtered, raw = _wrong(classes, run, 2.0)
    assert raw > 0.3
    assert filtered < left * raw


@pytest.mark.parametrize(("classes", "left"), [(2, 0.5), (3, 0.45)])
def test_runs_of_one_of_two_or_three_classes_are_told_better(classes: int, left: float) -> None:
    filtered, raw = _wrong(classes, 60, 1.5)
    assert raw > 0.1
    assert filtered < left * raw


def test_in_random_order_the_frames_stand_alone() -> None:
    _, logits = _stream(1, 1000, 10, 2.0, 1)
    by_filter = ClassFilter(10)
    predicted = np.array([by_filter.update(row).p.argmax() for row in logits])
    assert (predicted != logits.argmax(1)).mean() < 0.01
    assert by_filter.update(logits[0]).alone > 0.9


@pytest.mark.parametrize("seed", [1, 3, 4, 6])
def test_a_network_that_becomes_less_sure_shows_no_class_that_stays(seed: int) -> None:
    """In random order, of a stream that shows four of ten classes."""
    rng = np.random.default_rng(seed)
    labels, noise = rng.integers(0, 4, 1200), rng.normal(size=(1200, 10))
    signal = np.where(np.arange(1200) < 600, 6.0, 2.5)
    noise[np.arange(1200), labels] += signal
    by_filter = ClassFilter(10)
    wrong = np.array([by_filter.update(row).p.argmax() for row in noise]) != labels
    alone = noise.argmax(1) != labels
    assert alone[:600].mean() < 0.01 < 0.2 < alone[600:].mean()
    assert wrong[600:].mean() < alone[600:].mean() + 0.02  # by the prior alone + 0.7


def test_preferences_that_drift_are_no_class_that_stays() -> None:
    """In random order, of a network that prefers one class for a while and then another."""
    rng = np.random.default_rng(2)
    labels, logits = _stream(1, 800, 10, 2.0, 2)
    preferred = np.zeros((800, 10))
    for frame in range(1, 800):
        preferred[frame] = 0.97 * preferred[frame - 1] + 0.1 * rng.normal(size=10)
    logits = 2 * (logits + preferred)
    by_filter = ClassFilter(10)
    wrong = np.mean([by_filter.update(row).p.argmax() for row in logits] != labels)
    assert wrong < np.mean(logits.argmax(1) != labels) + 0.01


def test_it_is_causal() -> None:
    _, logits = _stream(10, 60, 5, 2.0, 0)
    one, other = ClassFilter(5), ClassFilter(5)
    changed = logits.copy()
    changed[40:] = -changed[40:]
    first = [one.update(row).p for row in logits]
    second = [other.update(row).p for row in changed]
    np.testing.assert_array_equal(first[:40], second[:40])
    assert not np.allclose(first[40:], second[40:])


def _sure_of_class_0() -> ClassFilter:
    by_filter = ClassFilter(4)
    for _ in range(200):
        for k in (0, 1, 2, 3):
            for _ in range(10):
                by_filter.update(3 * np.eye(4)[k])
    for _ in range(10):
        by_filter.update(3 * np.eye(4)[0])
    return by_filter


@pytest.mark.parametrize("interval", [1.0, 1000.0])
def test_a_belief_grows_old_with_time(interval: float) -> None:
    """A frame that tells nothing: at once the class is still believed, after a gap it is not."""
    by_filter = _sure_of_class_0()
    belief = by_filter.update(np.zeros(4), interval=interval)
    assert (belief.p[0] > 0.8) == (interval == 1.0)
    assert belief.p[0] > 0.2


def test_a_frame_that_is_no_news_changes_little() -> None:
    by_filter = _sure_of_class_0()
    belief = by_filter.update(3 * np.eye(4)[1], novelty=0.0)
    assert belief.p.argmax() == 0


def test_logits_that_are_not_finite_are_passed_on_and_change_no_weight() -> None:
    by_filter = _sure_of_class_0()
    before = by_filter.log_evidence
    assert np.isnan(by_filter.update([np.nan, 0, 0, 0]).p).any()
    assert by_filter.log_evidence == before
    assert by_filter.update(np.zeros(4)).p.argmax() == 0


@pytest.mark.parametrize("far", [50.0, 1e10, 3e38])
@pytest.mark.parametrize("interval", [0.0, 1e-9, 1.0, 1e9])
def test_no_finite_logits_and_no_gap_leave_anything_but_a_distribution(
    far: float, interval: float
) -> None:
    by_filter = ClassFilter(3)
    for frame in range(600):
        row = np.array([0.0, -far, -far if frame % 2 else 0.0])
        belief = by_filter.update(np.roll(row, frame // 300), interval=interval)
        assert belief.p.sum() == pytest.approx(1, abs=1e-5)
        assert np.isfinite([belief.alone, belief.stay]).all()


def test_a_class_that_was_long_away_comes_back() -> None:
    by_filter = ClassFilter(2)
    for _ in range(20_000):
        by_filter.update([60.0, 0.0])
    told = [by_filter.update([0.0, 60.0]).p[1] for _ in range(3)]
    assert np.isfinite(told).all()
    assert told[-1] > 0.99


def test_a_gap_says_nothing_of_how_long_classes_stay() -> None:
    by_filter = _sure_of_class_0()
    before = by_filter.update(3 * np.eye(4)[0]).stay
    by_filter.update(3 * np.eye(4)[0], interval=1e5)
    assert by_filter.update(3 * np.eye(4)[0]).stay == pytest.approx(before, rel=0.3)


def test_one_class_is_certain() -> None:
    assert ClassFilter(1).update([3.0]).p.tolist() == [1.0]


@pytest.mark.parametrize("logits", [np.zeros(3), np.zeros((1, 4)), 0.0])
def test_logits_of_another_shape_are_refused(logits: Any) -> None:
    with pytest.raises(ValueError, match=r"logits must be \(4,\)"):
        ClassFilter(4).update(logits)


def test_there_is_a_class_at_least() -> None:
    with pytest.raises(ValueError, match="classes must be >= 1"):
        ClassFilter(0)
    with pytest.raises(ValueError, match="prior_frames"):
        ClassFilter(4, 0.5)
