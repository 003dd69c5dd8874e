"""The guard's decisions, on predictions that are written for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_tta.guard import Guard, Limits
from tests.guard.fakes import Logits, Scripted, always, sure, unsure

FRAME = np.zeros((1, 3, 8, 8), np.float32)
LIMITS = Limits()


def _run(guard: Guard, frames: int) -> list[Logits]:
    return [guard(FRAME) for _ in range(frames)]


def _kinds(guard: Guard) -> list[str]:
    return [event.kind for event in guard.events]


def test_an_adapter_that_does_no_harm_is_left_alone_at_the_cost_of_one_source_run_in_eight() -> (
    None
):
    adapter = Scripted(lambda frame, age: sure(frame))
    guard = Guard(adapter)
    answers = _run(guard, 1600)
    assert guard.falls == 0
    assert guard.source_frames == 200
    assert all(adapter.learned)
    assert all(np.array_equal(logits, sure(i)) for i, logits in enumerate(answers))


def test_predictions_that_are_sure_where_the_source_is_not_are_no_harm() -> None:
    guard = Guard(Scripted(lambda frame, age: sure(frame), source=unsure))
    _run(guard, 2000)
    assert guard.falls == 0


def test_disagreement_with_a_source_that_says_one_class_is_no_harm() -> None:
    guard = Guard(Scripted(lambda frame, age: sure(frame), source=always))
    _run(guard, 2000)
    assert guard.falls == 0


def test_doubt_where_the_source_is_sure_is_answered_by_the_source_within_thirty_frames() -> None:
    guard = Guard(Scripted(lambda frame, age: unsure(frame) if frame >= 400 else sure(frame)))
    answers = _run(guard, 430)
    assert "far less certain" in (guard.fallen or "")
    (fall,) = guard.events
    assert 400 < fall.frame < 430
    assert all(np.array_equal(answers[i], sure(i)) for i in range(fall.frame, 430))


def test_one_class_for_long_is_a_fall_and_a_run_of_thirty_is_none() -> None:
    guard = Guard(Scripted(lambda frame, age: sure(frame // 30)))
    _run(guard, 2000)
    assert guard.falls == 0
    guard = Guard(Scripted(lambda frame, age: always(frame)))
    _run(guard, LIMITS.narrow_after)
    assert "one class" in (guard.fallen or "")


def test_far_fewer_classes_than_the_source_on_the_same_frames_and_other_ones_are_a_fall() -> None:
    guard = Guard(Scripted(lambda frame, age: sure(frame // 8 % 3)))
    _run(guard, 8 * LIMITS.fewer_after)
    assert "it tells only 3.0 classes apart" in (guard.fallen or "")


def test_fewer_classes_where_frames_resemble_each_other_are_no_harm() -> None:
    """Runs of one class, which the adapted network gets right and the source sometimes does not."""

    def source(frame: int) -> Logits:
        right = frame // 8 % 5 < 3
        return sure(frame // 60 if right else frame // 8)

    guard = Guard(Scripted(lambda frame, age: sure(frame // 60), source))
    _run(guard, 3000)
    assert guard.falls == 0


def _dissolved(frame: int) -> Logits:
    """The source's class (`_one_thing`) on two frames of five, else another one each time."""
    return _one_thing(frame) if frame % 5 < 2 else sure(frame // 5 % 4)


def _one_thing(frame: int) -> Logits:
    """Class 3 on six frames of ten, else one of 6, 7, 8 and 9."""
    return always(frame) if frame % 10 < 6 else sure(6 + frame // 10 % 4)


def test_one_thing_that_dissolves_is_a_fall_and_the_source_answers_while_it_is_shown() -> None:
    def own(frame: int, age: int) -> Logits:
        return sure(frame) if frame >= 3000 else _dissolved(frame * 7 + frame // 16)

    guard = Guard(Scripted(own, lambda f: sure(f) if f >= 3000 else _one_thing(f * 7 + f // 16)))
    _run(guard, 3000)
    (fall,) = guard.events
    assert "dissolves" in fall.why
    assert fall.frame < 8 * LIMITS.fewer_after
    _run(guard, 200)
    assert guard.fallen is None


def _run_of_thirty(frame: int) -> Logits:
    return sure(4 + frame // 30 % 6)


def test_classes_that_come_one_after_another_do_not_dissolve() -> None:
    """The source takes six frames of ten for one thing, whatever they show."""
    guard = Guard(
        Scripted(
            lambda frame, age: _run_of_thirty(frame),
            source=lambda frame: always(frame) if frame % 10 < 6 else _run_of_thirty(frame),
        )
    )
    _run(guard, 3000)
    assert guard.falls == 0


def test_a_source_that_agrees_with_nobody_has_not_seen_one_thing() -> None:
    """All classes but a few, of which the source says one, as noise makes it."""
    guard = Guard(Scripted(lambda frame, age: sure(frame % 7), source=always))
    _run(guard, 3000)
    assert guard.falls == 0


def test_an_output_that_is_not_finite_never_comes_out() -> None:
    broken = np.full((1, 10), np.nan)
    guard = Guard(Scripted(lambda frame, age: broken if age > 20 else sure(frame)))
    answers = _run(guard, 200)
    assert np.isfinite(answers).all()
    assert "not finite" in guard.events[0].why


def test_parameters_that_have_moved_far_are_a_fall() -> None:
    adapter = Scripted(lambda frame, age: sure(frame))
    guard = Guard(adapter)
    _run(guard, 16)
    adapter.moved = LIMITS.drift + 0.01
    _run(guard, 8)
    assert "parameters moved" in (guard.fallen or "")


def test_on_trial_nothing_is_learned_and_each_trial_begins_from_the_same_state() -> None:
    adapter = Scripted(lambda frame, age: always(frame))
    guard = Guard(adapter)
    _run(guard, 2000)
    assert guard.falls == 1
    assert not any(adapter.learned[LIMITS.narrow_after :])
    trials = (2000 - LIMITS.narrow_after) // (2 * LIMITS.trial)
    assert adapter.resets == 1 + trials
    assert not adapter.restored


def test_it_goes_back_to_the_older_of_the_last_two_good_states() -> None:
    adapter = Scripted(lambda frame, age: sure(frame) if frame < 900 else unsure(frame))
    guard = Guard(adapter)
    _run(guard, 1000)
    assert guard.falls == 1
    assert adapter.restored == [2 * LIMITS.keep_every]


def test_a_last_good_state_that_does_no_better_gives_way_to_the_source() -> None:
    def own(frame: int, age: int) -> Logits:
        return unsure(frame) if frame >= 1000 and age > 300 else sure(frame)

    adapter = Scripted(own)
    guard = Guard(adapter)
    _run(guard, 1400)
    assert _kinds(guard) == ["fell back", "reset", "returned"]
    assert adapter.resets == 1
    assert guard.fallen is None


def test_it_returns_to_the_adapter_within_two_hundred_frames_after_harm_ends() -> None:
    def own(frame: int, age: int) -> Logits:
        return always(frame) if frame < 5000 else sure(frame)

    adapter = Scripted(own, source=lambda frame: own(frame, 0))
    guard = Guard(adapter)
    _run(guard, 5200)
    assert _kinds(guard) == ["fell back", "returned"]
    back = guard.events[-1].frame
    assert 5000 < back < 5200
    # What it returns with was calibrated on nothing of what broke it.
    assert adapter.steps - (5199 - back) <= LIMITS.trial
    guard(FRAME)
    assert adapter.learned[-1]


def test_a_fall_soon_after_a_return_doubles_the_trial_and_long_health_forgives_it() -> None:
    """An adapter that goes wrong 150 frames after each fresh start, until frame 4,000."""

    def own(frame: int, age: int) -> Logits:
        return unsure(frame) if age > 150 and frame < 4000 else sure(frame)

    guard = Guard(Scripted(own))
    _run(guard, 4000)
    falls = [event.frame for event in guard.events if event.kind == "fell back"]
    returns = [event.frame for event in guard.events if event.kind == "returned"]
    trials = [back - fall for fall, back in zip(falls, returns, strict=False)]
    assert trials[:2] == [LIMITS.trial, 2 * LIMITS.trial]
    # The third trial is longer than the adapter stays well: it never comes back.
    assert len(falls) == 3
    assert len(returns) == 2
    _run(guard, 6 * LIMITS.trial)
    assert guard.fallen is None


def test_a_stream_that_shows_something_else_is_tried_without_delay_whatever_failed_before() -> None:
    """Goes wrong time and again until frame 3,000, then shows one class until 4,000."""

    def own(frame: int, age: int) -> Logits:
        if 3000 <= frame < 4000:
            return always(frame)
        return unsure(frame) if age > 150 and frame < 3000 else sure(frame)

    guard = Guard(Scripted(own, source=lambda frame: own(frame, 0)))
    _run(guard, 4000)
    assert guard.fallen is not None
    assert guard.falls == 3
    _run(guard, 200)
    assert guard.fallen is None


def test_what_is_saved_after_a_fall_is_the_state_that_trials_begin_from(tmp_path: Path) -> None:
    adapter = Scripted(lambda frame, age: sure(frame) if frame < 900 else unsure(frame))
    guard = Guard(adapter)
    _run(guard, 1000)
    on_trial = adapter.steps
    guard.save(tmp_path / "state")
    assert adapter.saved == [2 * LIMITS.keep_every]
    assert adapter.steps == on_trial


def test_a_state_that_shares_nothing_with_the_source_is_not_kept() -> None:
    guard = Guard(
        Scripted(
            lambda frame, age: unsure(frame) if frame >= 1000 else sure(frame // 8 + 5),
            source=lambda frame: sure(frame // 8),
        )
    )
    _run(guard, 1100)
    assert guard.falls == 1
    assert "reset" not in _kinds(guard)  # there was nothing but the source to go back to


def test_its_prediction_is_the_adapters_and_after_a_fall_the_sources() -> None:
    adapter = Scripted(lambda frame, age: always(frame))
    guard = Guard(adapter)
    _run(guard, 10)
    assert np.array_equal(guard.predict(FRAME), always(0))
    _run(guard, LIMITS.narrow_after)
    assert guard.fallen is not None
    frames, steps = guard.frames, adapter.steps
    assert np.array_equal(guard.predict(FRAME), sure(adapter.frame))
    assert (guard.frames, adapter.steps) == (frames, steps)


def test_reset_forgets_the_stream() -> None:
    guard = Guard(Scripted(lambda frame, age: always(frame)))
    _run(guard, 300)
    assert guard.fallen is not None
    guard.reset()
    assert guard.fallen is None
    _run(guard, LIMITS.narrow_after - 1)
    assert guard.fallen is None


@pytest.mark.parametrize("n", [3, 8, 20])
def test_batches_are_compared_once_in_eight_frames_at_least(n: int) -> None:
    adapter = Scripted(lambda frame, age: np.concatenate([sure(frame + i) for i in range(n)]))
    guard = Guard(adapter)
    adapter._source = lambda frame: np.concatenate([sure(frame + i) for i in range(n)])
    for _ in range(40):
        guard(np.zeros((n, 3, 8, 8), np.float32))
    assert guard.frames == 40 * n
    assert guard.source_frames >= guard.frames // max(8, n)
    assert guard.falls == 0


def test_limits_can_be_chosen() -> None:
    limits = dataclasses.replace(LIMITS, narrow_after=40)
    guard = Guard(Scripted(lambda frame, age: always(frame)), limits)
    _run(guard, 40)
    assert guard.falls == 1
