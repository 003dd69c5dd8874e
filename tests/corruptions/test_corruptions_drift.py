"""Gradual drift: the schedule is even and complete."""

from __future__ import annotations

import pytest

from bench.corruptions import CORRUPTIONS, UP_AND_DOWN, drift_schedule


def test_severity_climbs_and_falls_within_each_kind() -> None:
    schedule = drift_schedule(18, ["fog", "snow"])
    assert [name for name, _ in schedule] == ["fog"] * 9 + ["snow"] * 9
    assert [severity for _, severity in schedule] == [1, 2, 3, 4, 5, 4, 3, 2, 1] * 2


def test_default_schedule_visits_every_kind_in_the_published_order() -> None:
    schedule = drift_schedule(15 * 9 * 10)
    assert tuple(dict.fromkeys(name for name, _ in schedule)) == CORRUPTIONS
    assert schedule[::10] == [(name, severity) for name in CORRUPTIONS for severity in UP_AND_DOWN]


@pytest.mark.parametrize("n", [0, 1, 7, 100, 135, 136])
def test_frames_are_shared_out_evenly(n: int) -> None:
    schedule = drift_schedule(n)
    assert len(schedule) == n
    steps = [(name, severity) for name in CORRUPTIONS for severity in UP_AND_DOWN]
    positions = [135 * i // max(n, 1) for i in range(n)]
    assert schedule == [steps[position] for position in positions]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "n must not be negative, got -1"),
        ((5, ["rain"]), "got 'rain'"),
        ((5, []), "must not be empty"),
        ((5, ["fog"], []), "must not be empty"),
        ((5, ["fog"], [6]), "severities must be in 0..5, got 6"),
    ],
)
def test_bad_schedules_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drift_schedule(*arguments)  # type: ignore[arg-type]
