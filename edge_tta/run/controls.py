"""What somebody may ask of a run while it goes on, from another thread."""

from __future__ import annotations

import threading


class Controls:
    """Wishes that the loop grants between two frames: pause, go on, reset, save.

    Attributes:
        paused: predict with what has been learned, and adapt no further.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: list[str] = []
        self.paused = False

    def ask(self, wish: str) -> None:
        """Asks for `pause`, `resume`, `reset` or `save`; ValueError for anything else."""
        if wish not in ("pause", "resume", "reset", "save"):
            raise ValueError(f"unknown wish {wish!r}; expected pause, resume, reset or save")
        with self._lock:
            if wish not in self._wishes:
                self._wishes.append(wish)

    def granted(self) -> list[str]:
        """The wishes so far, in their order, as granted: `paused` follows."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
        for wish in wishes:
            if wish in ("pause", "resume"):
                self.paused = wish == "pause"
        return wishes
