"""Times of a frame's stages, and the frames per second that come of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages(dict[str, float]):
    """Seconds by stage of one frame: read, prepare, adapt, compare, show, save."""

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds what the block takes to a stage."""
        began_s = time.perf_counter()
        yield
        self[stage] = self.get(stage, 0.0) + time.perf_counter() - began_s

    def ms(self) -> dict[str, float]:
        """The same in milliseconds."""
        return {stage: 1e3 * seconds for stage, seconds in self.items()}


class Rate:
    """Frames per second, `fps`, smoothed over about a second; None before the second frame."""

    def __init__(self) -> None:
        self.fps: float | None = None
        self._last_s: float | None = None

    def tick(self) -> None:
        """Counts one frame."""
        now_s = time.monotonic()
        if self._last_s is not None and now_s > self._last_s:
            seconds = now_s - self._last_s
            share = min(1.0, max(0.05, seconds))
            self.fps = (1 - share) * (self.fps or 1 / seconds) + share / seconds
        self._last_s = now_s
