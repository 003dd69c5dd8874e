"""Which classes a stream shows: shares of chance, shrunk frequencies, and the weights of frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_tta.config import CalibrationConfig
from edge_tta.method.calibration import class_balance
from edge_tta.method.calibration.class_balance import ClassBalance
from tests.method.calibration.slow_balance import SlowBalance

CLASSES = 5
SMOOTHING = 0.998


def _run(labels: list[int], smoothing: float = SMOOTHING, classes: int = CLASSES) -> ClassBalance:
    """Balance after certain predictions, of which both statistics are plain averages."""
    balance = class_balance.initial(classes, torch.zeros((), dtype=torch.float64))
    for t, label in enumerate(labels):
        p = torch.eye(classes, dtype=torch.float64)[label]
        weight = torch.full((1,), 1 / (t + 1), dtype=torch.float64)
        balance = class_balance.updated(balance, p, (weight, weight), smoothing)
    return balance


def _labels(count: int, seed: int, classes: int = CLASSES) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes, (count,), generator=generator).tolist()


def _shrunk(balance: ClassBalance, prior_frames: float, smoothing: float = SMOOTHING) -> Tensor:
    return class_balance.shrunk_frequency(balance, smoothing, prior_frames)


def _excess(labels: list[int]) -> Tensor:
    balance = _run(labels)
    frequency = _shrunk(balance, class_balance.PRIOR_FRAMES_IN_LOSS)
    return class_balance.excess(balance, frequency, SMOOTHING)


@pytest.mark.parametrize("n", [5, 20, 100])
def test_share_is_on_average_one_nth_for_n_frames_in_random_order(n: int) -> None:
    shares = [float(class_balance.share_in_lasting(_run(_labels(n, seed)))) for seed in range(200)]
    assert sum(shares) / len(shares) == pytest.approx(1 / n, rel=0.15)


@pytest.mark.parametrize("n", [2, 50])
def test_share_is_one_in_a_run_of_one_class(n: int) -> None:
    balance = _run([3] * n)
    # The dispersion starts at one, which counts as a frame of the running mean.
    seen = 1 - 1 / CLASSES
    dispersion = (1 + n * seen) / (n + 1)
    assert float(balance.dispersion) == pytest.approx(dispersion)
    assert float(class_balance.share_in_lasting(balance)) == pytest.approx(seen / dispersion)


def test_usual_is_the_mean_of_the_stream_and_of_frames_of_each_class_beforehand() -> None:
    labels = _labels(400, 0)
    usual = _run(labels).usual.tolist()
    assert usual == pytest.approx([(labels.count(k) + 30) / (400 + 30 * 5) for k in range(5)])
    before, after = (float(_run([0] * 9000 + more).usual[1]) for more in ([], [1]))
    assert after == pytest.approx(before + (1 - before) / 5000)  # over 1,000 frames a class at most


def test_classes_that_are_lately_more_frequent_than_in_the_stream_are_in_excess_alone() -> None:
    two, one = _labels(6000, 0, 2), [0] * 400
    excess = _excess(two + one)
    assert excess[0] > 0.3
    assert excess[1:].tolist() == [0] * 4


@pytest.mark.parametrize("frames", [2000, 20_000])
def test_what_a_stream_shows_most_of_all_the_time_is_no_excess(frames: int) -> None:
    few = _excess(_labels(frames, 1, 2))
    late = _excess(_labels(frames, 1, 2) + [4] * 40)
    assert few.max() < 0.15
    assert late[:4].max() < 0.15  # nothing is asked of them, however long the fifth never came


def test_share_in_the_recent_is_of_their_distance_from_the_shrunk_lasting() -> None:
    balance = _run(_labels(50, 0))
    balance = balance._replace(recent=torch.eye(CLASSES, dtype=torch.float64)[2])
    factors = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    uniform = torch.full_like(balance.recent, 1 / CLASSES)
    expected = [
        float((balance.recent - uniform - part * (balance.lasting - uniform)).square().sum())
        / float(balance.dispersion)
        for part in factors
    ]
    assert class_balance.share_in_recent(balance, factors).tolist() == pytest.approx(expected)
    assert expected[0] == pytest.approx(0.8 / float(balance.dispersion))


def test_recent_equal_to_lasting_hold_nothing_more_where_those_are_not_shrunk() -> None:
    balance = _run([3] * 40)
    torch.testing.assert_close(balance.recent, balance.lasting)
    wholly_shrunk, not_shrunk = class_balance.share_in_recent(
        balance, torch.tensor([0.0, 1.0])
    ).tolist()
    assert wholly_shrunk == pytest.approx(float(class_balance.share_in_lasting(balance)))
    assert not_shrunk == pytest.approx(0, abs=1e-12)


def test_predictions_have_no_variance_left_in_a_run_of_one_class_and_all_in_random_order() -> None:
    assert max(class_balance.variance_left(_run([3] * 400))) < 0.01
    left = [class_balance.variance_left(_run(_labels(200, seed))) for seed in range(50)]
    about_mean, about_recent = (float(sum(part) / len(left)) for part in zip(*left, strict=True))
    assert about_mean == pytest.approx(1 - 1 / 200, rel=0.002)
    assert about_recent > 0.99


def test_frequency_is_the_mean_prediction_then_the_exponential_one() -> None:
    labels = _labels(30, 1)
    counts = [labels.count(k) / 30 for k in range(CLASSES)]
    expected = torch.tensor(counts, dtype=torch.float64)
    torch.testing.assert_close(_run(labels).frequency, expected, rtol=1e-5, atol=1e-6)
    frequency = _run([0, 0, 1, 2], 0.5, 3).frequency
    torch.testing.assert_close(frequency, torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("prior_frames", [0.0, 2.0, 20.0])
@pytest.mark.parametrize("smoothing", [0.9, 0.998])
def test_shrunk_frequency_equals_the_definition(smoothing: float, prior_frames: float) -> None:
    fast = class_balance.initial(CLASSES, torch.zeros((), dtype=torch.float64))
    slow = SlowBalance(CalibrationConfig(lasting_smoothing=smoothing), CLASSES)
    generator = torch.Generator().manual_seed(0)
    moved = 0.0
    for t in range(80):
        logits = torch.randn(CLASSES, generator=generator, dtype=torch.float64)
        logits[0 if t > 30 else t % CLASSES] += 4
        p = logits.softmax(0)
        weights = torch.full((1,), 0.1, dtype=torch.float64), torch.full((1,), 0.01).double()
        fast = class_balance.updated(fast, p, weights, smoothing)
        slow.update(t, p.tolist(), 0.1, 0.01)
        frequency = _shrunk(fast, prior_frames, smoothing)
        expected = torch.tensor(slow.shrunk(t + 1, prior_frames), dtype=torch.float64)
        torch.testing.assert_close(frequency, expected, rtol=1e-4, atol=1e-5)
        assert float(frequency.sum()) == pytest.approx(1)
        moved = max(moved, float(frequency[0]) * CLASSES)
    assert moved > 1.25


@pytest.mark.parametrize("count", [10, 100, 2000])
def test_frequency_stays_about_uniform_in_random_order(count: int) -> None:
    gaps, raw = [], []
    for seed in range(20):
        balance = _run(_labels(count, seed))
        shrunk = _shrunk(balance, 0.0)
        gaps.append(float((shrunk - 1 / CLASSES).square().sum()))
        raw.append(float((balance.frequency - 1 / CLASSES).square().sum()))
    # Most of what chance did is taken away, often all of it.
    assert sum(gaps) < 0.35 * sum(raw)
    assert sum(gap == 0 for gap in gaps) >= len(gaps) // 3


def test_frequency_is_uniform_before_the_first_frame_and_after_one() -> None:
    uniform = torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64)
    torch.testing.assert_close(_shrunk(_run([]), 2.0), uniform)
    # One frame is of one class always.
    torch.testing.assert_close(_shrunk(_run([1]), 2.0), uniform)


@pytest.mark.parametrize(
    "prior_frames", [class_balance.PRIOR_FRAMES, class_balance.PRIOR_FRAMES_IN_LOSS]
)
def test_frequency_moves_to_the_class_of_a_run_the_later_the_more_prior_frames(
    prior_frames: float,
) -> None:
    of_class = [float(_shrunk(_run([1] * n), prior_frames)[1]) for n in (1, 5, 20, 100, 400)]
    assert of_class == sorted(of_class)
    assert of_class[-1] > 2.5 * of_class[0]
    # Seen as n frames of this class beside `prior_frames` of each.
    expected = (400 + prior_frames) / (400 + CLASSES * prior_frames)
    assert of_class[-1] == pytest.approx(expected, rel=0.01)


def test_a_class_that_is_shown_more_often_is_known_to_be() -> None:
    labels = [0 if label < CLASSES else label - CLASSES for label in _labels(1000, 3, 2 * CLASSES)]
    balance = _run(labels)
    shrunk = _shrunk(balance, class_balance.PRIOR_FRAMES)
    torch.testing.assert_close(shrunk, balance.frequency, rtol=0, atol=0.03)
    assert float(shrunk[0]) > 0.5


def test_weight_is_one_for_classes_no_more_frequent_than_others_else_the_inverse() -> None:
    frequency = torch.tensor([0.6, 0.2, 0.1, 0.1, 0.0])
    weights = class_balance.class_balance_weight(torch.eye(CLASSES), frequency)
    torch.testing.assert_close(weights, torch.tensor([1 / (CLASSES * 0.6), 1, 1, 1, 1]))


def test_weight_of_any_prediction_is_above_zero_and_at_most_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for sharpness in (0.1, 1.0, 30.0):
        p, frequency = (
            (sharpness * torch.randn((500, CLASSES), generator=generator)).softmax(-1)
            for _ in range(2)
        )
        weights = torch.stack([class_balance.class_balance_weight(p, f) for f in frequency[:20]])
        # The weight of a prediction is that of the frequency it expects.
        expected = torch.einsum("nk,sk->sn", p, frequency[:20])
        torch.testing.assert_close(weights, (1 / (CLASSES * expected)).clamp(max=1))
        assert float(weights.min()) >= (1 - 1e-5) / CLASSES
        assert float(weights.max()) <= 1
