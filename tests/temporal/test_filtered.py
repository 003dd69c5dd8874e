"""The filter around adapters, guards and bundles: what goes in, and what time does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.guard import Guard
from edge_tta.probability import as_array
from edge_tta.temporal import ClassFilter, Filtered, Novelty
from edge_tta.temporal.novelty import block_means
from tests.adapters import adapter, assert_same, stream

CLASSES = 3


class Told:
    """A predictor that answers what it is told, and counts."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.learned, self.resets = list(rows), [], 0

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        self.learned.append(learn)
        return np.stack([self.rows.pop(0) for _ in images])

    def reset(self) -> None:
        self.resets += 1


def _filtered(rows: Any) -> tuple[Filtered, Told]:
    told: Any = Told(rows)
    return Filtered(told), told


def _pictures(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 4])
def test_it_is_the_class_filter_on_the_logits_and_the_novelty_of_the_images(size: int) -> None:
    rows, pictures = np.random.default_rng(0).normal(size=(8, CLASSES)) * 3, _pictures(8)
    filtered, _ = _filtered(rows)
    answers = np.concatenate(
        [filtered(pictures[start : start + size]) for start in range(0, 8, size)]
    )
    by_filter, novelty = ClassFilter(CLASSES), Novelty()
    for answer, row, picture in zip(answers, rows, pictures, strict=True):
        belief = by_filter.update(row, novelty=novelty.update(block_means(picture)))
        np.testing.assert_allclose(np.exp(answer), belief.p, rtol=1e-5)
    np.testing.assert_array_equal(filtered.raw, rows[-size:])


@pytest.mark.parametrize("method", ["source", "nanoadapt:tent/edge"])
def test_adaptation_goes_on_as_without(method: str) -> None:
    alone, inner = adapter(method), adapter(method)
    filtered = Filtered(inner)
    for images in stream(6, n=1):
        answer = filtered(images)
        assert isinstance(answer, torch.Tensor)
        assert answer.shape == filtered.raw.shape
        assert torch.equal(filtered.raw, alone(images))
    assert_same(inner.state, alone.state)


@pytest.mark.parametrize(
    ("method", "guarded", "frames"),
    [("source", False, 10), ("nanoadapt:tent/edge", False, 50), ("nanoadapt:tent/edge", True, 50)],
)
def test_the_source_s_preferences_are_learned_sooner(
    method: str, guarded: bool, frames: int
) -> None:
    inner = adapter(method)
    predictor = Guard(inner) if guarded else inner
    filtered, answers, rows = Filtered(predictor, of_source=method == "source"), [], []
    for images in stream(6, n=1):
        answers.append(as_array(filtered(images))[0])
        rows.append((as_array(filtered.raw)[0], filtered.novelty))
    by_filter = ClassFilter(len(rows[0][0]), frames)
    for answer, (row, novelty) in zip(answers, rows, strict=True):
        np.testing.assert_allclose(np.exp(answer), by_filter.update(row, novelty=novelty).p, 1e-4)


def test_learn_is_passed_on() -> None:
    filtered, told = _filtered(np.eye(CLASSES))
    filtered(_pictures(1), learn=False)
    filtered(_pictures(1))
    assert told.learned == [False, True]


def _after_a_run(filtered: Filtered, gap_s: float, rate: float = 30.0) -> Any:
    """Class probabilities of a frame that tells nothing, so long after a run of class 0."""
    pictures = _pictures(64)
    for i in range(60):
        filtered(pictures[i : i + 1], time_s=i / rate)
    return np.exp(filtered(pictures[60:61], time_s=59 / rate + gap_s)[0])


def _runs() -> Any:
    return [*(4 * np.eye(CLASSES)[k] for k in (1, 2, 1, 0, 2, 0) for _ in range(10)), np.zeros(3)]


def test_a_belief_grows_old_by_seconds() -> None:
    soon, late = (_after_a_run(_filtered(_runs())[0], gap)[0] for gap in (1 / 30, 60.0))
    assert soon > 0.8
    assert late < 0.6


def test_a_slower_camera_is_no_gap() -> None:
    """The usual interval is what the camera gives."""
    one = _after_a_run(_filtered(_runs())[0], 1 / 30)
    other = _after_a_run(_filtered(_runs())[0], 1 / 2, rate=2.0)
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_a_camera_that_slows_down_is_a_gap_until_its_pace_is_the_usual_one() -> None:
    """A belief grows old by seconds at first; when half of the latest 64 frames came at the new
    pace, that is what a frame is."""
    filtered, pictures, rows = _filtered(_runs() * 4)[0], _pictures(64), _runs() * 4
    by_filter, novelty, times = ClassFilter(CLASSES), Novelty(), [0.0]
    intervals = []
    for frame in range(240):
        gaps = np.diff(times)
        times.append(times[-1] + (1 / 30 if frame < 120 else 1 / 3))
        usual = np.median(gaps[-64:]) if len(gaps) else times[-1] - times[-2]
        intervals.append((times[-1] - times[-2]) / usual if frame else 1.0)
        picture = pictures[frame % 64]
        answer = filtered(picture[None], time_s=times[-1])
        news = novelty.update(block_means(picture))
        belief = by_filter.update(rows[frame], novelty=news, interval=intervals[-1])
        np.testing.assert_allclose(np.exp(answer[0]), belief.p, rtol=1e-4, atol=1e-6)
    slow = np.array(intervals[120:])
    assert slow[:32] == pytest.approx(10)
    assert slow[34:] == pytest.approx(1)
    assert filtered.belief is not None
    assert filtered.stay_s == pytest.approx(filtered.belief.stay / 3)


def test_a_gap_after_the_first_interval_is_one() -> None:
    told, plain = _filtered(_runs()[:3])[0], _filtered(_runs()[:3])[0]
    for picture, time_s in zip(_pictures(3), (0.0, 0.1, 60.1), strict=True):
        told(picture[None], time_s=time_s)
    for picture, interval in zip(_pictures(3), (0.0, 0.1, 0.2), strict=True):
        plain(picture[None], time_s=interval)
    assert told.belief is not None
    assert plain.belief is not None
    assert told.belief.p.max() < plain.belief.p.max()


def test_after_a_cut_the_next_scene_answers_soon() -> None:
    """A recording of near-copies, and from one frame to the next another thing."""
    rng, wrong = np.random.default_rng(0), []
    scenes = _pictures(12, seed=1)
    rows = [1.5 * np.eye(CLASSES)[k % CLASSES] for k in range(12) for _ in range(30)]
    rows = [row + rng.normal(size=CLASSES) for row in rows]
    filtered = _filtered(rows)[0]
    for frame in range(360):
        picture = scenes[frame // 30] + 0.05 * rng.normal(size=scenes[0].shape)
        answer = filtered(picture[None].astype(np.float32), time_s=frame / 30)
        wrong.append(answer[0].argmax() != frame // 30 % CLASSES)
    own = np.array(rows).argmax(1) != np.arange(360) // 30 % CLASSES
    by_place = np.array(wrong).reshape(12, 30)[4:]
    assert np.mean(own) > 0.15
    assert by_place[:, 3:].mean() < 0.02


def test_it_tells_for_how_long_a_class_is_expected_to_stay() -> None:
    filtered, _ = _filtered(_runs())
    assert filtered.stay_s is None
    _after_a_run(filtered, 1 / 30)
    assert filtered.belief is not None
    assert filtered.stay_s == pytest.approx(filtered.belief.stay / 30, rel=0.01)
    assert 3 < filtered.belief.stay < 60


def test_times_that_go_backwards_or_are_none_are_taken_for_the_usual() -> None:
    nan, inf = float("nan"), float("inf")
    times = (1.0, 2.0, 0.5, None, 3.0, nan, 4.0, inf, 5.0)
    told, plain = _filtered(_runs())[0], _filtered(_runs())[0]
    for picture, time_s in zip(_pictures(9), times, strict=True):
        np.testing.assert_array_equal(
            told(picture[None], time_s=time_s), plain(picture[None], time_s=None)
        )


def test_in_batches_the_gap_is_that_between_frames() -> None:
    pictures = _pictures(60)
    one, four = _filtered(_runs())[0], _filtered(_runs())[0]
    for i in range(60):
        one(pictures[i : i + 1], time_s=i / 30)
    for i in range(0, 60, 4):
        four(pictures[i : i + 4], time_s=(i + 3) / 30)
    assert one.stay_s is not None
    assert four.stay_s == pytest.approx(one.stay_s, rel=1e-3)


def test_a_frame_without_finite_logits_spoils_no_estimate() -> None:
    rows = [np.full(CLASSES, np.nan), *_runs() * 3]
    filtered, _ = _filtered(rows)
    for picture in _pictures(150):
        filtered(picture[None])
    estimate = filtered.accuracy.of_answers()
    assert estimate is not None
    assert 0.5 < estimate.value <= 1


def test_reset_goes_back_to_the_source_and_forgets() -> None:
    rows = _runs()
    filtered, told = _filtered([*rows, *rows])
    first = _after_a_run(filtered, 1.0)
    filtered.reset()
    assert told.resets == 1
    assert filtered.belief is None
    np.testing.assert_allclose(_after_a_run(filtered, 1.0), first, rtol=1e-6)
    filtered.reset_filter()
    assert told.resets == 1
