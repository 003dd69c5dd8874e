"""Gradual drift: the schedule is even and complete, the stream follows it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.corruptions import CORRUPTIONS, UP_AND_DOWN, apply_drift, corrupt, drift_schedule
from tests.corruptions.scenes import scenes


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


def test_each_frame_gets_its_own_corruption_and_severity_zero_is_clean() -> None:
    frames = scenes(4, 32)
    schedule = [("fog", 0), ("fog", 2), ("gaussian_noise", 5), ("frost", 1)]
    drifted = list(apply_drift(frames, schedule, seed=9))
    assert np.array_equal(drifted[0], frames[0])
    for index in (1, 2, 3):
        name, severity = schedule[index]
        alone = corrupt(frames[index], name, severity, 9, first_index=index)
        assert np.array_equal(drifted[index], alone)


def test_stream_is_lazy_and_takes_no_frame_beyond_the_schedule() -> None:
    taken: list[int] = []

    def camera() -> Iterator[NDArray[np.uint8]]:
        for index, frame in enumerate(np.repeat(scenes(1, 32), 10, axis=0)):
            taken.append(index)
            yield frame

    stream = apply_drift(camera(), drift_schedule(3, ["contrast"]), seed=0)
    assert taken == []
    next(stream)
    assert taken == [0]
    assert len(list(stream)) == 2
    assert taken == [0, 1, 2]


def test_short_stream_ends_the_drift() -> None:
    assert len(list(apply_drift(scenes(2, 32), drift_schedule(5, ["fog"]), seed=0))) == 2
