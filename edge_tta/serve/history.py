"""Means over seconds of what a run measures, for curves over the last minutes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

BIN_S = 1.0
"""Seconds that a point is the mean of."""
KEPT = 300
"""Points that are kept: five minutes."""


class History:
    """Points of curves: `at_s`, the second that they are of, and the mean of each value in it.

    What is not finite or None is left out of the means; None where nothing was left.
    """

    def __init__(self) -> None:
        self._points: deque[dict[str, float | None]] = deque(maxlen=KEPT)
        self._bin = -1
        self._values: dict[str, list[float]] = {}

    def add(self, at_s: float, values: Mapping[str, float | None]) -> None:
        """Add what was measured at a time, in seconds that do not go back."""
        if (number := int(at_s // BIN_S)) != self._bin:
            self.finish()
            self._bin = number
        for name, value in values.items():
            earlier = self._values.setdefault(name, [])
            if value is not None and math.isfinite(value):
                earlier.append(value)

    def finish(self) -> None:
        """The point that is being measured is done."""
        if self._values:
            means = {name: sum(v) / len(v) if v else None for name, v in self._values.items()}
            self._points.append({"at_s": self._bin * BIN_S, **means})
        self._values = {}

    def after(self, at_s: float) -> list[dict[str, float | None]]:
        """Return the finished points later than a time, oldest first."""
        return [point for point in self._points if (point["at_s"] or 0.0) > at_s]
