"""The latest picture and status, handed to any number of viewers, each at its own pace."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from edge_tta.frames.source import Pixels

HISTORY = 240
"""Points of the entropy curve that a new viewer gets."""
LONGEST_SIDE = 960
QUALITY = 80


class Hub:
    """The place where the loop leaves what there is to see.

    A viewer that is slow misses frames, and nobody waits for it.

    Pictures are made into JPEG by the viewers' threads, once each, and only while somebody looks.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._pixels: Pixels | None = None
        self._number = 0
        self._status: Mapping[str, Any] = {}
        self._history: deque[tuple[float, float | None]] = deque(maxlen=HISTORY)
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._viewers = 0
        self._closed = False

    @property
    def watched(self) -> bool:
        """Return True while anybody looks."""
        return self._viewers > 0

    def publish(
        self, pixels: Pixels, status: Mapping[str, Any], entropies: tuple[float, float | None]
    ) -> None:
        """The latest frame, uint8 (H, W, 3) RGB, and what is known of it.

        pixels: not copied unless somebody looks. entropies: of the adapted and, where it ran, of
        the source network.
        """
        shown = pixels.copy() if self.watched else pixels
        with self._changed:
            self._pixels, self._status = shown, status
            self._number += 1
            self._history.append(entropies)
            self._changed.notify_all()

    def close(self) -> None:
        """Lets all viewers go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """A viewer, for as long as the block runs."""
        with self._changed:
            self._viewers += 1
        try:
            yield
        finally:
            with self._changed:
                self._viewers -= 1

    def statuses(self, every_s: float, silence_s: float) -> Iterator[tuple[int, Any] | None]:
        """Number and status of the latest frame, at most one in `every_s`; None after `silence_s`
        without a newer frame. Ends when the hub is closed."""
        seen = 0
        while True:
            with self._changed:
                deadline_s = time.monotonic() + silence_s
                while not self._closed and self._number <= seen:
                    if not self._changed.wait(deadline_s - time.monotonic()):
                        break
                if self._closed:
                    return
                latest = (self._number, self._status) if self._number > seen else None
            yield latest
            if latest is not None:
                seen = latest[0]
                time.sleep(every_s)

    def history(self) -> list[tuple[float, float | None]]:
        """The latest entropies, oldest first."""
        with self._changed:
            return list(self._history)

    def jpeg(self, after: int) -> tuple[int, bytes]:
        """Number and JPEG of the latest picture; `(after, b"")` if it is no newer than `after`."""
        with self._encoding:
            with self._changed:
                number, pixels = self._number, self._pixels
            if number <= after or pixels is None:
                return after, b""
            if self._jpeg[0] != number:
                self._jpeg = number, _encoded(pixels)
            return self._jpeg


def _encoded(pixels: Pixels) -> bytes:
    """Return a picture as JPEG, shrunk to LONGEST_SIDE."""
    shrink = LONGEST_SIDE / max(pixels.shape[:2])
    if shrink < 1:
        size = (round(pixels.shape[1] * shrink) or 1, round(pixels.shape[0] * shrink) or 1)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(data)
