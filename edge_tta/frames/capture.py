"""Live streams: a thread reads as fast as frames come, the newest good one is handed out."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import numpy.typing as npt

from edge_tta.errors import SourceError
from edge_tta.frames.faults import FaultFilter
from edge_tta.frames.pictures import to_rgb
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import Frame, FrameSource, Pick, RateLimit
from edge_tta.frames.video import Capture, resulting_rate

_PAUSE_S = 0.03
"""Wait after a bad read: an unplugged camera answers at once, and would take a whole core."""


class LiveSource(FrameSource):
    """A camera or network stream, always the newest good frame.

    Counted in `dropped`, never given: "empty" reads, "black" and "blank" frames, exact "repeat"s
    (see FaultFilter), and "late" frames, replaced by newer ones before they were asked for.

    Opening and reading happen in a thread, because both can block for ever in a driver.

    opener: returns the opened capture, or raises SourceError.
    silence_s: SourceError when nothing at all arrives for so long (the driver blocks).
    most_empty: SourceError after so many empty reads in a row (unplugged, stream ended).
    useless_s: SourceError when frames arrive but all are black, blank or repeats for so long.
    opening_s: SourceError when `opener` takes longer.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Capture],
        pick: Pick,
        *,
        silence_s: float = 5.0,
        most_empty: int = 30,
        useless_s: float = 5.0,
        opening_s: float = 15.0,
    ) -> None:
        super().__init__(name, length=pick.max_frames, live=True)
        self._opener = opener
        self._most_empty = most_empty
        self._pick = pick
        self._silence_s, self._useless_s, self._opening_s = (silence_s, useless_s, opening_s)
        self._given = 0
        # Shared with the thread, under `_changed`:
        self._changed = threading.Condition()
        self._opened = False
        self._newest: tuple[int, float, npt.NDArray[Any]] | None = None  # number, s, BGR
        self._bad: Counter[str] = Counter()
        self._failure: SourceError | None = None
        self._arrived_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()
        try:
            self._await_opening()
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame | None:
        """Wait for a good frame newer than the last; None after `max_frames`."""
        if self._stop.is_set() or self._pick.ended(self._given):
            return None
        with self._changed:
            asked_s = time.monotonic()
            try:
                while self._newest is None and self._failure is None:
                    self._await_frame(asked_s)
            finally:
                self.dropped.update(self._bad)
                self._bad.clear()
            newest, self._newest = self._newest, None
            if newest is None:
                assert self._failure is not None
                raise self._failure
        number, time_s, raw = newest
        index, self._given = self._given, self._given + 1
        return Frame(index, to_rgb(raw), time_s, f"{self.name}#{number}")

    def close(self) -> None:
        """Stop reading. A thread that a driver holds is left behind; it ends with the process."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _await_opening(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._opened or self._failure, self._opening_s):
                raise SourceError(
                    f"{self.name} did not open within {self._opening_s:g} s; check that it is "
                    f"connected and not in use by another program"
                )
            if self._failure is not None:
                raise self._failure

    def _await_frame(self, asked_s: float) -> None:
        """Wait once for a change; fails when the patience with this stream is over."""
        silent_until_s = max(asked_s, self._arrived_s) + self._silence_s
        until_s = min(silent_until_s, asked_s + self._useless_s)
        remaining_s = until_s - time.monotonic()
        if remaining_s > 0:
            self._changed.wait(remaining_s)
        elif until_s == silent_until_s:
            self._fail(
                f"nothing arrives for {self._silence_s:g} s; check the connection and start again"
            )
        else:
            seen = ", ".join(f"{times} {why}" for why, times in self._bad.most_common())
            self._fail(
                f"only useless pictures for {self._useless_s:g} s ({seen}); "
                f"check the lens cap, the light and the cable, then start again"
            )

    def _fail(self, why: str) -> None:
        """End the stream: `read` raises this, now and later."""
        with self._changed:
            self._failure = SourceError(f"{self.name}: {why}")
            self._changed.notify_all()

    def _run(self) -> None:
        """The thread: open, read until told to stop, release."""
        try:
            with quiet_opencv():
                capture = self._opener()
        except SourceError as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            return
        except (cv2.error, OSError) as error:
            self._fail(f"cannot be opened ({' '.join(str(error).split())}); check the connection")
            return
        try:
            rate = capture.get(cv2.CAP_PROP_FPS)
            with self._changed:
                known = rate if math.isfinite(rate) and 0 < rate < 1000 else None
                self.fps = resulting_rate(known, self._pick)
                self._arrived_s = time.monotonic()
                self._opened = True
                self._changed.notify_all()
            self._pump(capture, known)
        finally:
            capture.release()

    def _pump(self, capture: Capture, rate: float | None) -> None:
        start_s = time.monotonic()
        faults = FaultFilter()
        limit = None
        # A camera that keeps to the rate it was asked for is not thinned out again: with jitter
        # that would lose frames.
        if self._pick.fps is not None and (rate is None or rate > 1.2 * self._pick.fps):
            limit = RateLimit(self._pick.fps, 0.25 / self._pick.fps)
        number, empty = -1, 0
        while not self._stop.is_set():
            pixels = _next_capture(capture, self._pick.stride if number >= 0 else 1)
            now_s = time.monotonic()
            why = "empty" if pixels is None else faults.fault(pixels)
            if pixels is not None:
                number += self._pick.stride if number >= 0 else 1
                with self._changed:
                    self._arrived_s = now_s
            empty = empty + 1 if pixels is None else 0
            if pixels is None or why is not None:
                with self._changed:
                    self._bad[why or "empty"] += 1
                if empty >= self._most_empty:
                    self._fail(
                        f"no picture in {empty} reads (unplugged, or the stream ended); "
                        f"check the connection and start again"
                    )
                    return
                self._stop.wait(_PAUSE_S)
            elif limit is None or limit.takes(now_s - start_s):
                with self._changed:
                    if self._newest is not None:
                        self._bad["late"] += 1
                    self._newest = (number, now_s - start_s, pixels)
                    self._changed.notify_all()


def _next_capture(capture: Capture, stride: int) -> npt.NDArray[Any] | None:
    """Every stride-th raw capture, None when the read fails."""
    try:
        for _ in range(stride):
            if not capture.grab():
                return None
        ok, raw = capture.retrieve()
    except cv2.error:
        return None
    return raw if ok and raw is not None and raw.size else None
