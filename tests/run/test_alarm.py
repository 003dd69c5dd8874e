"""The alarm: once when the estimate falls below the limit, once when it is back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edge_tta.run.alarm import Alarm
from edge_tta.run.sinks.alarm import AlarmSink
from edge_tta.temporal import Accuracy


def _accuracy(value: float | None) -> Accuracy | None:
    return None if value is None else Accuracy(value, value - 0.1, value + 0.05)


def _result(frame: int, value: float | None, alarm: float | None) -> Any:
    filtered = SimpleNamespace(accuracy=_accuracy(value))
    return SimpleNamespace(frame=SimpleNamespace(index=frame), filter=filtered, alarm=alarm)


def test_each_crossing_is_told_once_with_the_interval() -> None:
    told: list[str] = []
    alarm, sink = Alarm(0.7), AlarmSink(told.append)
    for frame, value in enumerate((None, 0.9, 0.699, 0.5, None, 0.71, 0.73, 0.9, 0.6)):
        sink.take(_result(frame, value, alarm.below(_accuracy(value))))
    assert told == [
        "alarm: below 70%: estimated accuracy 69.9% (60 to 75) at frame 2",
        "back above 70%: estimated accuracy 73.0% (63 to 78) at frame 6",
        "alarm: below 70%: estimated accuracy 60.0% (50 to 65) at frame 8",
    ]


def test_a_reset_is_told_as_one() -> None:
    told: list[str] = []
    alarm, sink = Alarm(0.7), AlarmSink(told.append)
    sink.take(_result(0, 0.6, alarm.below(_accuracy(0.6))))
    alarm.reset()
    for frame, value in ((1, None), (2, 0.8), (3, 0.6)):
        sink.take(_result(frame, value, alarm.below(_accuracy(value))))
    assert told[1:] == [
        "alarm over: reset at frame 1, estimated accuracy unknown",
        "alarm: below 70%: estimated accuracy 60.0% (50 to 65) at frame 3",
    ]


@pytest.mark.parametrize("limit", [0.97, 0.99, 0.999])
def test_a_high_limit_is_left_again(limit: float) -> None:
    alarm = Alarm(limit)
    middle = 1 - (1 - limit) / 4
    below = [alarm.below(_accuracy(value)) for value in (limit - 0.01, limit, middle, 1.0, limit)]
    assert below == [limit, limit, None, None, None]


def test_while_the_accuracy_is_unknown_it_is_as_it_was() -> None:
    alarm = Alarm(0.7)
    below = [alarm.below(_accuracy(value)) for value in (None, 0.6, None, 0.8, None)]
    assert below == [None, 0.7, 0.7, None, None]
