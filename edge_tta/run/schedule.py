"""`Schedule`: which frames a run adapts by; between them the network only predicts.

    credit <- min(budget, credit + budget - seconds that the frame took), at least -DEBT budgets

A frame is adapted by where the last one that was is `every` frames back, and credit >= 0. So the
mean frame keeps to the budget wherever predictions do, and no more is left out than that takes.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

DEBT = 64
"""Budgets that one slow frame costs at most: longer hiccups of the system are forgotten."""

_WARM_UP = 2
"""Frames of either kind whose time does not count: at the first ones sessions are loaded."""

_ENOUGH = 10
"""Latest predictions whose median is what one takes."""


class Schedule:
    """Tells which frames to adapt by.

    Args:
        every: at most one of so many frames, from 1.
        budget_s: mean time of a frame in seconds; infinite: no limit.
    """

    def __init__(self, every: int = 1, budget_s: float = math.inf) -> None:
        self.every, self.budget_s = every, budget_s
        self._since, self._credit_s = every, 0.0
        self._seen = {True: 0, False: 0}  # by whether they were adapted by
        self._predictions: deque[float] = deque(maxlen=_ENOUGH)

    @property
    def spaced(self) -> bool:
        """Whether the last frame adapted by is less than `every` frames back."""
        return self._since < self.every

    @property
    def adapts(self) -> bool:
        """Whether to adapt by the next frame."""
        return not self.spaced and self._credit_s >= 0

    @property
    def too_tight_s(self) -> float | None:
        """Seconds that predictions alone take, where those are more than the budget; else None."""
        if len(self._predictions) < _ENOUGH:
            return None
        seconds = statistics.median(self._predictions)
        return seconds if seconds > self.budget_s else None

    def took(self, seconds: float, adapted: bool) -> None:
        """Add a frame: what it took, and whether it was adapted by."""
        self._since = 1 if adapted else self._since + 1
        self._seen[adapted] += 1
        if self._seen[adapted] <= _WARM_UP or not math.isfinite(self.budget_s):
            return
        if not adapted:
            self._predictions.append(seconds)
        credit_s = self._credit_s + self.budget_s - seconds
        self._credit_s = min(self.budget_s, max(-DEBT * self.budget_s, credit_s))
