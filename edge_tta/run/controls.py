"""Wishes that another thread may have of a run while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum


class Wish(Enum):
    """Request to a run."""

    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    SAVE = "save"


class Controls:
    """Wishes that the loop grants between two frames.

    Attributes:
        paused: predict with what has been learned, and adapt no further.
        does: what grants RESET and SAVE; a wish that nothing grants is left.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: list[Wish] = []
        self.paused = False
        self.does: dict[Wish, Callable[[], None]] = {}

    def ask(self, wish: str) -> None:
        """Asks for `pause`, `resume`, `reset` or `save`; ValueError for anything else."""
        asked = Wish(wish)
        with self._lock:
            if asked not in self._wishes:
                self._wishes.append(asked)

    def grant(self) -> None:
        """Fulfil what was asked for so far, in its order, each once."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
        for wish in wishes:
            if wish in (Wish.PAUSE, Wish.RESUME):
                self.paused = wish is Wish.PAUSE
            elif wish in self.does:
                self.does[wish]()
