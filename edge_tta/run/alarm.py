"""Alarm where the estimated accuracy falls below a limit."""

from __future__ import annotations

from edge_tta.temporal import Accuracy

HYSTERESIS = 0.02
"""By how much the estimate must be above the limit to be back, so that it does not waver.

Of a limit so high that there is no room for it, by half of what there is.
"""


class Alarm:
    """Tells whether the estimated accuracy is below a limit, 0..1."""

    def __init__(self, limit: float) -> None:
        self._limit, self._below = limit, False

    def reset(self) -> None:
        """Forget what was estimated."""
        self._below = False

    def below(self, accuracy: Accuracy | None) -> float | None:
        """Return the limit where the latest estimate is below it, else None.

        accuracy: None: unknown, so that it is as it was before.
        """
        if accuracy is not None:
            above = min(HYSTERESIS, (1 - self._limit) / 2)
            self._below = accuracy.value < self._limit + above * self._below
        return self._limit if self._below else None
