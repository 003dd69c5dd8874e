"""The alarm: once when the estimate falls below the limit, once when it is back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from edge_tta.run.sinks.alarm import AlarmSink
from edge_tta.temporal import Accuracy


def _result(frame: int, value: float | None) -> Any:
    accuracy = None if value is None else Accuracy(value, value - 0.1, value + 0.05)
    return SimpleNamespace(
        frame=SimpleNamespace(index=frame), filter=SimpleNamespace(accuracy=accuracy)
    )


def test_each_crossing_is_told_once_with_the_interval() -> None:
    told: list[str] = []
    alarm = AlarmSink(0.7, told.append)
    for frame, value in enumerate((None, 0.9, 0.699, 0.5, None, 0.71, 0.73, 0.9, 0.6)):
        alarm.take(_result(frame, value))
    assert told == [
        "alarm: below 70.0%: estimated accuracy 69.9% (60 to 75) at frame 2",
        "back above 70.0%: estimated accuracy 73.0% (63 to 78) at frame 6",
        "alarm: below 70.0%: estimated accuracy 60.0% (50 to 65) at frame 8",
    ]


def test_without_a_filter_there_is_none() -> None:
    told: list[str] = []
    alarm = AlarmSink(0.7, told.append)
    alarm.take(SimpleNamespace(filter=None))  # type: ignore[arg-type]
    assert not told
