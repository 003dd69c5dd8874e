"""The schedule: at most every so many frames, and the mean frame within its time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tta.run.schedule import DEBT, Schedule


def _run(schedule: Schedule, frames: int, predict_s: float, adapt_s: float) -> list[bool]:
    """Which frames are adapted by, where either kind takes always the same time."""
    adapted = []
    for _ in range(frames):
        due = schedule.adapts
        schedule.took(adapt_s if due else predict_s, due)
        adapted.append(due)
    return adapted


@pytest.mark.parametrize("every", [1, 2, 5])
def test_without_a_budget_every_so_many_frames_are_adapted_by(every: int) -> None:
    assert _run(Schedule(every), 11, 1.0, 100.0) == [i % every == 0 for i in range(11)]


@given(
    st.floats(1.05, 20.0),  # of an adapting frame, in predictions
    st.floats(1.02, 25.0),  # of the budget
    st.integers(1, 6),
)
def test_the_mean_frame_keeps_to_the_budget_and_uses_it(
    adapt_s: float, budget_s: float, every: int
) -> None:
    warm_up, frames = 40, 4000
    schedule = Schedule(every, budget_s)
    _run(schedule, warm_up, 1.0, adapt_s)
    adapted = _run(schedule, frames, 1.0, adapt_s)
    share = sum(adapted) / frames
    mean_s = 1 + share * (adapt_s - 1)
    assert mean_s <= budget_s + adapt_s / frames
    wanted = min(1 / every, (budget_s - 1) / (adapt_s - 1))
    # The interval is whole: between two multiples of it the next longer one may be what fits.
    assert share >= 0.95 * 1 / (1 / wanted + every) - 2 / frames
    assert schedule.too_tight_s is None
    gaps = [b - a for a, b in itertools.pairwise(i for i, due in enumerate(adapted) if due)]
    assert min(gaps, default=every) >= every


def test_fractions_of_a_frame_are_saved_up() -> None:
    schedule = Schedule(budget_s=1.25)
    _run(schedule, 40, 1.0, 2.0)
    assert sum(_run(schedule, 400, 1.0, 2.0)) == pytest.approx(100, abs=1)


def test_a_budget_below_a_prediction_is_known_after_a_few_frames_and_nothing_adapts() -> None:
    schedule = Schedule(budget_s=0.5)
    adapted = _run(schedule, 30, 1.0, 3.0)
    assert sum(adapted[4:]) == 0
    assert schedule.too_tight_s == pytest.approx(1.0)


def test_loading_does_not_count_and_a_long_hiccup_is_forgotten() -> None:
    schedule = Schedule(budget_s=2.0)
    schedule.took(1000.0, True)
    assert schedule.adapts
    schedule.took(1000.0, False)  # the first prediction loads a session of its own
    assert schedule.adapts
    for _ in range(2):
        schedule.took(1.0, False)
    schedule.took(1e6, False)
    waited = _run(schedule, 3 * DEBT, 1.0, 2.0).index(True)
    assert waited == pytest.approx(2 * DEBT, abs=2)


def test_one_slow_prediction_is_not_what_predictions_take() -> None:
    schedule = Schedule(budget_s=2.0)
    _run(schedule, 10, 1.0, 4.0)
    for seconds in [50.0, *[1.0] * 12]:
        schedule.took(seconds, False)
        assert schedule.too_tight_s is None


def test_a_faster_machine_is_used_and_a_slower_one_is_spared() -> None:
    schedule = Schedule(budget_s=4.0)
    _run(schedule, 40, 2.0, 12.0)
    at_first = sum(_run(schedule, 500, 2.0, 12.0))
    faster = sum(_run(schedule, 500, 1.0, 6.0))
    slower = sum(_run(schedule, 500, 3.5, 21.0))
    assert slower < at_first < faster
    assert (at_first, faster, slower) == pytest.approx((100, 300, 14), abs=6)
