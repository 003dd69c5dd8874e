"""Streams of pictures: `Frame`, `FrameSource`, and the choice of frames that are taken."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_tta.closing import Closing
from edge_tta.errors import ConfigError

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""A picture: uint8 (H, W, 3), RGB, 0..255."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a stream.

    index: how many frames the source gave before this one (0, 1, 2, ... without gaps).
    pixels: uint8 (H, W, 3), RGB.
    time_s: position in the stream in seconds: media time in a video; time since the start for a
        camera or a network stream; `position / fps` for pictures, which have no time of their own
        (fps = 1 unless given).
    name: the picture's file name (with its folder inside the source), or "source#number", where
        number counts the source's own frames, also those that stride or fps left out.
    label: true class index from 0, None when unknown.
    condition: what disturbs the picture, where that is known; reports group by it.
    array: the network's input (channels, H, W) float32, where it is no picture; `pixels` shows it.
    """

    index: int
    pixels: Pixels
    time_s: float
    name: str
    label: int | None = None
    condition: str | None = None
    array: npt.NDArray[np.float32] | None = None


class FrameSource(Closing, ABC):
    """A stream of frames that is read once: a context manager and an iterator.

    A subclass calls `super().__init__`, implements `read`, and `close` if it holds anything.

    name: short, for messages and titles.
    length: number of frames that will come, None when unknown. A video's header or an unreadable
        picture can make it too large: it serves a progress display, not a loop.
    fps: frames per second of stream time that come out, None when unknown.
    live: whether frames are lost when they are not read in time.
    dropped: why -> how many frames or files were left out because something was wrong with them.
    files: of pictures, where each is one.
    reconnected: how often a live stream that was lost has been found again.
    tell: called with a line that the user may want to know at once: lost, found again.
    """

    def __init__(
        self, name: str, *, length: int | None = None, fps: float | None = None, live: bool = False
    ) -> None:
        self.name = name
        self.length = length
        self.fps = fps
        self.live = live
        self.files: Sequence[Path] = ()
        self.dropped: Counter[str] = Counter()
        self.reconnected = 0
        self.tell: Callable[[str], None] = lambda said: None

    @abstractmethod
    def read(self) -> Frame | None:
        """The next frame; None after the last one. Raises SourceError when the source fails."""

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = self.read()
        if frame is None:
            raise StopIteration
        return frame


@dataclass(frozen=True)
class Pick:
    """Choice of frames: at `fps`, of these every `stride`-th, at most `max_frames`.

    Raises ConfigError for a stride or max_frames below 1, or an fps that is not above 0.
    """

    stride: int = 1
    fps: float | None = None
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ConfigError(f"stride must be 1 or more (1 takes every frame), got {self.stride}")
        if self.fps is not None and not (self.fps > 0 and math.isfinite(self.fps)):
            raise ConfigError(f"fps must be above 0 frames per second, got {self.fps:g}")
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"max_frames must be 1 or more, got {self.max_frames}")

    def ended(self, given: int) -> bool:
        """Return True where `given` frames are all that was asked for."""
        return self.max_frames is not None and given >= self.max_frames

    def count(self, frames: int) -> int:
        """Return how many of `frames` frames stride and max_frames take."""
        taken = -(-frames // self.stride)
        return taken if self.max_frames is None else min(taken, self.max_frames)


class RateLimit:
    """Takes at most `fps` frames per second of stream time, evenly, whatever the stream's own rate.

    Frame times fall into slots of 1/fps seconds counted from the first frame; the first frame of
    each slot is taken. Frames are never repeated, so a slower stream passes unchanged.

    tolerance_s: a frame that comes this much too early counts for the slot it nearly reached
        (rounded time stamps; jitter).
    """

    def __init__(self, fps: float, tolerance_s: float) -> None:
        self._fps = fps
        self._tolerance_s = tolerance_s
        self._start_s: float | None = None
        self._slot = -1

    def takes(self, time_s: float) -> bool:
        """Return True where the frame at `time_s` (seconds, not decreasing) is taken."""
        if self._start_s is None:
            self._start_s = time_s
        slot = math.floor((time_s - self._start_s + self._tolerance_s) * self._fps)
        if slot <= self._slot:
            return False
        self._slot = slot
        return True
