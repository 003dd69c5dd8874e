"""The latest picture and status, handed to any number of viewers, each at its own pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge_tta.frames.source import Pixels
from edge_tta.serve.history import History

LONGEST_SIDE = 960
QUALITY = 80
_FAREWELL_S = 0.5
"""How long the end waits for viewers to be told of it."""


@dataclass(frozen=True)
class View:
    """One frame as a viewer gets it: number, picture, what is known of it, and new points of the
    curves."""

    number: int
    pixels: Pixels
    status: Mapping[str, Any]
    points: list[dict[str, float | None]]


class Hub:
    """The place where the loop leaves what there is to see.

    A viewer that is slow misses frames, and nobody waits for it.

    Pictures are made into JPEG by the viewers' threads, once each, and only while somebody looks.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._latest: tuple[int, Pixels, Mapping[str, Any]] | None = None
        self._number = 0
        self._history = History()
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._viewers = 0
        self._closed = False
        self._began_s = time.monotonic()

    @property
    def watched(self) -> bool:
        """Return True while anybody looks."""
        return self._viewers > 0

    def time_s(self, at_s: float | None = None) -> float:
        """Return a time, now unless given, of `time.monotonic` in seconds since the hub was made:
        the time of all that viewers are told."""
        return (time.monotonic() if at_s is None else at_s) - self._began_s

    def publish(
        self, pixels: Pixels, status: Mapping[str, Any], values: Mapping[str, float | None]
    ) -> None:
        """The latest frame, uint8 (H, W, 3) RGB, what is known of it, and the values for curves.

        pixels: not copied unless somebody looks.
        """
        shown = pixels.copy() if self.watched else pixels
        now_s = self.time_s()
        with self._changed:
            self._number += 1
            self._latest = self._number, shown, {**status, "at_s": now_s}
            self._history.add(now_s, values)
            self._changed.notify_all()

    def close(self) -> None:
        """Lets all viewers go, after the last frame; those that read nothing are not waited for."""
        with self._changed:
            self._closed = True
            self._history.finish()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._viewers == 0, _FAREWELL_S)

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
                self._changed.notify_all()

    def views(self, every_s: float, silence_s: float) -> Iterator[View | None]:
        """The latest frame, at most one in `every_s`; None after `silence_s` without a newer one.

        The first view has the points of the last minutes, each later one those since. Ends when
        the hub is closed, with the last frame; who comes later sees none.
        """
        if self._closed:
            return
        seen, points_s = 0, -1.0
        while True:
            with self._changed:
                self._wait_for_newer(seen, silence_s)
                closed, view = self._closed, None
                if self._latest is not None and self._number > seen:
                    view = View(*self._latest, self._history.after(points_s))
            if view is not None or not closed:
                yield view
            if closed:
                return
            if view is not None:
                seen = view.number
                points_s = max([points_s, *(point["at_s"] or 0.0 for point in view.points)])
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, every_s)

    def _wait_for_newer(self, seen: int, most_s: float) -> None:
        self._changed.wait_for(lambda: self._closed or self._number > seen, most_s)

    def jpeg(self, view: View) -> bytes:
        """Return a view's picture as JPEG."""
        with self._encoding:
            if self._jpeg[0] != view.number:
                self._jpeg = view.number, _encoded(view.pixels)
            return self._jpeg[1]


def _encoded(pixels: Pixels) -> bytes:
    """Return a picture as JPEG, shrunk to LONGEST_SIDE."""
    shrink = LONGEST_SIDE / max(pixels.shape[:2])
    if shrink < 1:
        size = (round(pixels.shape[1] * shrink) or 1, round(pixels.shape[0] * shrink) or 1)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(data)
