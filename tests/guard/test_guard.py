"""The guard's decisions, on predictions that are written for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tta.guard import Guard, Limits
from edge_tta.guard.judge import Judge
from tests.guard.fakes import CLASSES, Logits, Scripted, always, mixed, sure, unsure

FRAME = np.zeros((1, 12, 8, 8), np.float32)
LIMITS = Limits()
RNG = np.random.default_rng(0)
ANY_OTHER = RNG.integers(1, CLASSES, 4000)
PICTURES = RNG.normal(size=(4000, 1, 12, 8, 8)).astype(np.float32)
"""Each of them all news: with so many channels chance makes no two alike."""


def _run(guard: Guard, frames: int) -> list[Logits]:
    return [guard(PICTURES[guard.frames % len(PICTURES)]) for _ in range(frames)]


def _kinds(guard: Guard) -> list[str]:
    return [event.kind for event in guard.events]


def _often_right(share: float, seed: int) -> list[Logits]:
    """Runs of twenty of one class, told as sure as any where it is another one."""
    wrong = np.random.default_rng(seed).random(len(PICTURES)) >= share
    return [sure(i // 20 * 7 + wrong[i] * ANY_OTHER[i], 3.0) for i in range(len(PICTURES))]


def test_networks_that_say_the_same_leave_each_other_alone_at_the_cost_of_some_source_runs() -> (
    None
):
    adapter = Scripted(lambda frame, age: mixed(frame))
    guard = Guard(adapter)
    answers = _run(guard, 1600)
    assert guard.falls == 0
    assert guard.source_frames == 1600 // LIMITS.every
    assert all(adapter.learned)
    assert all(logits.argmax() == mixed(i).argmax() for i, logits in enumerate(answers))


def test_a_source_that_is_unsure_or_says_one_class_counts_for_nothing() -> None:
    for source in (unsure, always):
        guard = Guard(Scripted(lambda frame, age: mixed(frame), source))
        answers = _run(guard, 400)
        assert guard.falls == 0
        assert guard.weight == 0
        assert guard.judge is not None
        assert guard.judge.weight < LIMITS.decided
        assert np.array_equal(answers[-1], mixed(399))
        assert guard.source_frames < 400 // LIMITS.every + 20


@pytest.mark.parametrize("harmful", [always, unsure])
def test_one_class_for_all_and_doubt_are_answered_by_the_source_within_a_hundred_frames(
    harmful: object,
) -> None:
    def own(frame: int, age: int) -> Logits:
        return harmful(frame) if frame >= 400 else mixed(frame)  # type: ignore[operator]

    guard = Guard(Scripted(own))
    _run(guard, 500)
    (fall,) = guard.events
    assert (fall.kind, fall.why) == ("fell back", "the source seems to be right more often")
    assert fall.frame >= 400
    assert guard.weight > 1 - LIMITS.decided
    answers = _run(guard, 20)
    assert all(np.array_equal(logits, mixed(500 + i)) for i, logits in enumerate(answers))


@pytest.mark.parametrize("better", ["source", "adapted"])
def test_of_two_networks_that_look_alike_the_one_that_neighbours_confirm_has_the_weight(
    better: str,
) -> None:
    """Both are as sure as each other, and say all classes."""
    right, wrong = _often_right(0.8, 1), _often_right(0.5, 2)
    own, source = (wrong, right) if better == "source" else (right, wrong)
    guard = Guard(Scripted(lambda frame, age: own[frame], lambda frame: source[frame]))
    answers = [guard(picture) for picture in PICTURES[:600]]
    assert guard.judge is not None
    assert (guard.judge.weight > 0.9) == (better == "source")
    assert (guard.judge.weight < 0.1) == (better == "adapted")
    told = [int(logits.argmax()) == i // 20 * 7 % CLASSES for i, logits in enumerate(answers)]
    assert np.mean(told[300:]) > 0.75


def test_logits_are_blended_by_the_weight() -> None:
    def own(frame: int, age: int) -> Logits:
        return sure(frame, 2.0)

    def source(frame: int) -> Logits:
        return sure(frame + frame % 2, 2.0)

    guard = Guard(Scripted(own, source))
    for frame in range(50):
        logits, weight = guard(PICTURES[frame]), guard.weight
        if guard.compared is None:
            assert np.array_equal(logits, own(frame, 0))
            continue
        assert LIMITS.decided < weight < 1 - LIMITS.decided
        told = np.exp(own(frame, 0)) ** (1 - weight) * np.exp(source(frame)) ** weight
        np.testing.assert_allclose(np.exp(logits), told / told.sum(), rtol=1e-5)


def test_an_output_that_is_not_finite_never_comes_out() -> None:
    broken = np.full((1, 10), np.nan)
    adapter = Scripted(lambda frame, age: broken if age > 20 else mixed(frame))
    guard = Guard(adapter)
    answers = _run(guard, 200)
    assert np.isfinite(answers).all()
    assert "not finite" in guard.events[0].why
    assert adapter.resets == 200 // 21
    assert np.isfinite(guard.predict(FRAME)).all()


def test_a_prediction_that_is_not_finite_is_the_sources_though_nobody_asked_it() -> None:
    broken, agreed = np.full((1, 10), np.nan), [True]
    adapter = Scripted(lambda frame, age: mixed(frame) if agreed[0] else broken)
    guard = Guard(adapter)
    _run(guard, 60)
    guard.predict(FRAME)
    assert guard.compared is None
    agreed[0] = False
    assert np.array_equal(guard.predict(FRAME), mixed(adapter.frame))
    assert guard.weight == 1.0


def test_a_source_that_is_not_finite_counts_for_nothing() -> None:
    broken = np.array([[np.inf] + [0.0] * 9])
    told = [_often_right(share, seed) for seed, share in enumerate((0.6, 0.65))]
    adapter = Scripted(
        lambda frame, age: told[0][frame],
        lambda frame: told[1][frame] if frame < 200 else broken,
    )
    guard = Guard(adapter)
    _run(guard, 200)
    assert guard.judge is not None
    assert guard.judge.weight > LIMITS.decided
    for _ in range(20):
        answer = guard(PICTURES[guard.frames])
        assert np.array_equal(answer, told[0][adapter.frame])
        assert guard.weight == 0


def test_what_was_far_and_not_finite_at_once_goes_back_once() -> None:
    adapter = Scripted(
        lambda frame, age: np.full((1, 10), np.nan) if frame == 300 else mixed(frame)
    )
    guard = Guard(adapter)
    _run(guard, 300)
    restore = adapter.restore

    def restored(state: dict[str, int]) -> None:
        restore(state)
        adapter.moved = 0.0

    adapter.restore = restored  # type: ignore[method-assign]
    adapter.moved = LIMITS.drift + 0.5
    _run(guard, 40)
    assert _kinds(guard)[:2] == ["fell back", "restored"]
    assert "reset" not in _kinds(guard)


def test_parameters_that_have_moved_far_go_back() -> None:
    adapter = Scripted(lambda frame, age: mixed(frame))
    guard = Guard(adapter)
    _run(guard, 16)
    adapter.moved = LIMITS.drift + 0.01
    _run(guard, 8)
    assert guard.events[0].why == f"parameters moved by {adapter.moved:.0%} of their size"
    assert _kinds(guard)[:2] == ["fell back", "reset"]


def _harmful_from(start: int) -> Scripted:
    return Scripted(lambda frame, age: always(frame) if frame >= start else mixed(frame))


def test_harm_that_lasts_is_ended_by_the_older_of_the_last_two_good_states_then_the_source() -> (
    None
):
    adapter = _harmful_from(900)
    guard = Guard(adapter)
    _run(guard, 900 + 100 + 7 * LIMITS.patience)
    assert _kinds(guard) == ["fell back", "restored", "reset", "reset"]
    assert adapter.restored == [2 * LIMITS.keep_every]
    frames = [event.frame for event in guard.events]
    # Each time it has twice as long.
    assert np.diff(frames).tolist() == [LIMITS.patience * k for k in (1, 2, 4)]
    assert all(adapter.learned)


def test_it_returns_to_the_adapter_when_harm_ends_and_a_good_state_restores_patience() -> None:
    harmful = [range(300, 700), range(1500, 1900)]
    adapter = Scripted(
        lambda frame, age: always(frame) if any(frame in part for part in harmful) else mixed(frame)
    )
    guard = Guard(adapter)
    _run(guard, 2200)
    assert _kinds(guard) == ["fell back", "restored", "returned"] * 2
    falls, restored, returned = np.reshape([event.frame for event in guard.events], (2, 3)).T
    assert (restored - falls).tolist() == [LIMITS.patience] * 2
    assert (returned - [700, 1900] < 300).all()
    assert guard.fallen is None


def test_what_is_saved_after_a_fall_is_the_last_good_state(tmp_path: Path) -> None:
    adapter = _harmful_from(900)
    guard = Guard(adapter)
    _run(guard, 1000)
    harmful = adapter.steps
    guard.save(tmp_path / "state")
    assert adapter.saved == [2 * LIMITS.keep_every]
    assert adapter.steps == harmful


@pytest.mark.parametrize(("start", "saved"), [(100, 5000), (300, 5256)])
def test_a_state_that_was_loaded_is_saved_until_another_is_good(
    start: int, saved: int, tmp_path: Path
) -> None:
    """It is not lost because the run begins with something that does harm."""
    adapter = _harmful_from(start)
    adapter.steps = 5000
    guard = Guard(adapter)
    _run(guard, start + 100)
    assert guard.harmed
    guard.save(tmp_path / "state")
    assert adapter.saved == [saved]
    assert adapter.steps == 5100 + start


def test_harm_that_a_loaded_state_does_is_not_gone_back_to() -> None:
    adapter = _harmful_from(0)
    adapter.steps = 5000
    guard = Guard(adapter)
    _run(guard, 100 + LIMITS.patience)
    assert _kinds(guard) == ["fell back", "reset"]
    assert adapter.restored == []


def test_its_prediction_is_its_answer_and_changes_nothing() -> None:
    adapter = _harmful_from(100)
    guard = Guard(adapter)
    for frames in (10, 190):
        answer = _run(guard, frames)[-1]
        before, seen = (adapter.steps, guard.judge.weight), guard.frames  # type: ignore[union-attr]
        np.testing.assert_allclose(guard.predict(FRAME), answer, rtol=1e-5)
        after = adapter.steps, guard.judge.weight  # type: ignore[union-attr]
        assert before == after
        assert guard.frames == seen + 1
    assert np.array_equal(guard.predict(FRAME), mixed(adapter.frame))


def test_pictures_that_are_nearly_the_one_before_teach_the_adapter_nothing() -> None:
    adapter = Scripted(lambda frame, age: mixed(frame))
    guard = Guard(adapter)
    first = PICTURES[0]
    for i in range(20):
        guard(first + np.float32(1e-3 * i))
    steps = adapter.steps
    assert steps < 6  # how far apart unrelated pictures are is not known yet
    assert not guard.adapts
    guard(PICTURES[1])
    assert (adapter.steps, guard.adapts) == (steps + 1, True)
    # Small changes add up.
    for i in range(100):
        guard(PICTURES[1] + np.float32(0.01 * i))
    assert steps + 1 < adapter.steps < 60


def test_an_image_that_the_adapter_refuses_changes_nothing_of_what_is_news() -> None:
    class Refusing(Scripted):
        def __call__(self, images: Any, *, learn: bool = True) -> Logits:
            if not np.isfinite(images).all():
                raise ValueError("images hold NaN")
            return super().__call__(images, learn=learn)

    adapts = []
    for bad_every in (20, 10_000):
        guard = Guard(Refusing(lambda frame, age: mixed(frame)))
        _run(guard, 100)
        for number in range(200):
            if number % bad_every == bad_every - 1:
                with pytest.raises(ValueError, match="NaN"):
                    guard(np.full_like(FRAME, np.nan))
            guard(PICTURES[99] + 0.2 * PICTURES[100 + number])  # hardly news
            adapts.append(guard.adapts)
    assert adapts[:200] == adapts[200:]
    assert 0 < np.mean(adapts) < 0.5


def test_reset_forgets_the_stream() -> None:
    guard = Guard(Scripted(lambda frame, age: always(frame)))
    _run(guard, 300)
    assert guard.fallen is not None
    guard.reset()
    assert guard.fallen is None
    assert guard.judge is None
    _run(guard, 1)
    assert guard.fallen is None


@pytest.mark.parametrize("n", [3, 8, 20])
def test_batches_are_compared_once_in_so_many_frames_at_least(n: int) -> None:
    def batch(frame: int, age: int = 0) -> Logits:
        return np.concatenate([sure(frame + i) for i in range(n)])

    guard, rng = Guard(Scripted(batch, batch)), np.random.default_rng(0)
    for _ in range(40):
        logits = guard(rng.normal(size=(n, 12, 8, 8)).astype(np.float32))
        assert logits.shape == (n, CLASSES)
    assert guard.frames == 40 * n
    assert guard.source_frames >= guard.frames // max(LIMITS.every, n)
    assert guard.falls == 0


def test_of_near_copies_the_source_is_not_asked() -> None:
    guard, rng = Guard(Scripted(lambda frame, age: mixed(frame))), np.random.default_rng(0)
    pictures = rng.normal(size=(40, 1, 3, 8, 8)).astype(np.float32)
    adapted = 0
    for picture in pictures:
        for _ in range(5):
            guard(picture)
            adapted += guard.adapts
    assert 40 <= adapted < 80
    assert guard.source_frames <= adapted // LIMITS.every + 20


def test_limits_can_be_chosen() -> None:
    guard = Guard(_harmful_from(0), dataclasses.replace(LIMITS, patience=20))
    _run(guard, 100)
    assert _kinds(guard)[:2] == ["fell back", "reset"]
    assert guard.events[1].frame - guard.events[0].frame == 20


def test_a_judge_before_the_first_frame_prefers_nobody() -> None:
    judge = Judge(CLASSES)
    assert judge.advantage == 0
    assert judge.disagreement == 0
