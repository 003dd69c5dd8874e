"""The thread that reads one connection of a live stream, and what it leaves for the consumer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import numpy.typing as npt

from edge_tta.errors import SourceError, one_line
from edge_tta.frames.faults import FaultFilter
from edge_tta.frames.pictures import Depth
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import Pick, RateLimit
from edge_tta.frames.video import Capture, known_rate

_PAUSE_S = 0.03
"""Wait after a bad read: an unplugged camera answers at once, and would take a whole core."""


class Inbox:
    """The newest good frame of a stream, over all its connections; to be used under `changed`.

    Attributes:
        newest: the stream's own frame number, seconds since the start, and the pixels (BGR).
        bad: why -> frames not given since the consumer looked.
        arrived_s: when anything at all last came, on the monotonic clock.
    """

    def __init__(self, pick: Pick) -> None:
        self.changed = threading.Condition()
        self.newest: tuple[int, float, npt.NDArray[Any]] | None = None
        self.bad: Counter[str] = Counter()
        self.arrived_s = self.start_s = time.monotonic()
        self.number = -1
        self.depth, self.faults = Depth(), FaultFilter()
        self._pick = pick
        self._limit = None if pick.fps is None else RateLimit(pick.fps, 0.25 / pick.fps)

    def limit(self, rate: float | None) -> RateLimit | None:
        """Return what thins out a stream of this rate in frames per second; None: nothing.

        A camera that keeps to the rate it was asked for is not thinned out again: with jitter that
        would lose frames.
        """
        asked = self._pick.fps
        keeps = asked is not None and rate is not None and rate <= 1.2 * asked
        return None if keeps else self._limit


class Reader:
    """Opens a capture and reads it in a thread of its own, because both can block for ever.

    opener: returns the opened capture, or raises SourceError.
    most_empty: so many empty reads in a row end the connection (unplugged, stream ended).

    Attributes, to be read under `inbox.changed`:
        opened: whether the capture has been opened.
        rate: frames per second that it promises; None: unknown.
        failure: why the connection has ended.
    """

    def __init__(
        self, name: str, opener: Callable[[], Capture], stride: int, inbox: Inbox, most_empty: int
    ) -> None:
        self.opened = False
        self.rate: float | None = None
        self.failure: SourceError | str | None = None
        self._opener, self._stride, self._inbox = opener, stride, inbox
        self._most_empty = most_empty
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 1.0) -> bool:
        """Stop reading. False where a driver holds the thread, which then ends with the process."""
        with self._inbox.changed:
            self._stop.set()
        self._thread.join(timeout=wait_s)
        return not self._thread.is_alive()

    def _end(self, why: SourceError | str) -> None:
        with self._inbox.changed:
            self.failure = why
            self._inbox.changed.notify_all()

    def _run(self) -> None:
        """The thread: open, read until told to stop, release."""
        try:
            with quiet_opencv():
                capture = self._opener()
        except SourceError as error:
            self._end(error)
            return
        except (cv2.error, OSError) as error:
            self._end(f"cannot be opened ({one_line(error)})")
            return
        try:
            rate = known_rate(capture.get(cv2.CAP_PROP_FPS))
            with self._inbox.changed:
                self.rate = rate
                self._inbox.arrived_s = time.monotonic()
                self.opened = True
                self._inbox.changed.notify_all()
            self._pump(capture)
        finally:
            capture.release()

    def _pump(self, capture: Capture) -> None:
        inbox, empty, first = self._inbox, 0, True
        limit = inbox.limit(self.rate)
        while not self._stop.is_set():
            stride = 1 if first else self._stride
            pixels, why = _next_capture(capture, stride)
            now_s = time.monotonic()
            if pixels is not None:
                pixels = inbox.depth.eight_bits(pixels)
                why = inbox.faults.fault(pixels)
            with inbox.changed:
                if self._stop.is_set():
                    return
                if why != "empty":
                    inbox.number += stride
                    inbox.arrived_s = now_s
                    first = False
                if why is not None:
                    inbox.bad[why] += 1
                elif limit is None or limit.takes(now_s - inbox.start_s):
                    assert pixels is not None
                    if inbox.newest is not None:
                        inbox.bad["late"] += 1
                    inbox.newest = (inbox.number, now_s - inbox.start_s, pixels)
                    inbox.changed.notify_all()
            empty = empty + 1 if why == "empty" else 0
            if empty >= self._most_empty:
                self._end(f"no picture in {empty} reads (unplugged, or the stream ended)")
                return
            if why is not None:
                self._stop.wait(_PAUSE_S)


def _next_capture(capture: Capture, stride: int) -> tuple[npt.NDArray[Any] | None, str | None]:
    """Return the stride-th raw capture; or None and why: "empty", or "damaged" where it cannot be
    decoded."""
    try:
        for _ in range(stride):
            if not capture.grab():
                return None, "empty"
        ok, raw = capture.retrieve()
    except cv2.error:
        return None, "empty"
    return (raw, None) if ok and raw is not None and raw.size else (None, "damaged")
