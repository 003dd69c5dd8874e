"""Wishes that another thread may have of a run while it goes on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

_KEPT = 8


class Wish(Enum):
    """Request to a run."""

    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    SAVE = "save"


_OPPOSITES = {Wish.PAUSE: Wish.RESUME, Wish.RESUME: Wish.PAUSE}


@dataclass(frozen=True)
class Done:
    """A wish that was dealt with.

    Attributes:
        number: as `Controls.ask` gave it.
        problem: why it could not be fulfilled; None: it was.
        at_s: when, by `time.monotonic`.
    """

    number: int
    wish: Wish
    problem: str | None
    at_s: float


class Controls:
    """Wishes that the loop grants between two frames.

    Attributes:
        paused: predict with what has been learned, and adapt no further.
        does: what grants RESET and SAVE; returns why it could not, None where it could. A wish that
            nothing grants is left.
        done: the latest wishes that were dealt with, oldest first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: dict[Wish, int] = {}
        self._asked = 0
        self.paused = False
        self.does: dict[Wish, Callable[[], str | None]] = {}
        self.done: deque[Done] = deque(maxlen=_KEPT)

    def ask(self, wish: str) -> int:
        """Asks for `pause`, `resume`, `reset` or `save`; ValueError for anything else.

        Returns:
            The wish's number, which `done` will have; of one that already waits, its own.
        """
        asked = Wish(wish)
        with self._lock:
            if asked in _OPPOSITES:  # the last word counts
                self._wishes.pop(_OPPOSITES[asked], None)
            if asked not in self._wishes:
                self._asked += 1
                self._wishes[asked] = self._asked
            return self._wishes[asked]

    def grant(self) -> None:
        """Fulfil what was asked for so far, in its order, each once."""
        with self._lock:
            wishes, self._wishes = self._wishes, {}
        for wish, number in wishes.items():
            self.done.append(Done(number, wish, self._fulfil(wish), time.monotonic()))

    def _fulfil(self, wish: Wish) -> str | None:
        if wish in (Wish.PAUSE, Wish.RESUME):
            self.paused = wish is Wish.PAUSE
            return None
        return self.does[wish]() if wish in self.does else "this run cannot"
