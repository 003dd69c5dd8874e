"""A line where the estimated accuracy falls below a limit, and where it is back."""

from __future__ import annotations

from collections.abc import Callable

from edge_tta.run.frame_result import FrameResult
from edge_tta.run.sinks import Sink
from edge_tta.temporal.accuracy import in_words


class AlarmSink(Sink):
    """Tells each change of a run's alarm, once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._last: float | None = None

    def take(self, result: FrameResult) -> None:
        last, self._last = self._last, result.alarm
        limit = last if result.alarm is None else result.alarm
        if result.filter is None or limit is None or last == result.alarm:
            return
        accuracy, frame = result.filter.accuracy, result.frame.index
        if result.alarm is None and accuracy is None:
            self._tell(f"alarm over: reset at frame {frame}, estimated accuracy unknown")
            return
        change = "back above" if result.alarm is None else "alarm: below"
        self._tell(
            f"{change} {100 * limit:g}%: estimated accuracy {in_words(accuracy)} at frame {frame}"
        )
