"""An alarm where the estimated accuracy falls below a limit."""

from __future__ import annotations

from collections.abc import Callable

from edge_tta.run.frame_result import FrameResult
from edge_tta.run.sinks import Sink
from edge_tta.temporal.accuracy import in_words

HYSTERESIS = 0.02
"""By how much the estimate must be above the limit to be back, so that it does not waver."""


class AlarmSink(Sink):
    """Tells when the estimated accuracy falls below a limit, 0..1, and when it is back."""

    def __init__(self, limit: float, tell: Callable[[str], None]) -> None:
        self._limit, self._tell = limit, tell
        self._below = False

    def take(self, result: FrameResult) -> None:
        accuracy = None if result.filter is None else result.filter.accuracy
        if accuracy is None:
            return
        below = accuracy.value < self._limit + HYSTERESIS * self._below
        if below != self._below:
            change = "alarm: below" if below else "back above"
            self._tell(
                f"{change} {self._limit:.1%}: estimated accuracy {in_words(accuracy)} "
                f"at frame {result.frame.index}"
            )
        self._below = below
