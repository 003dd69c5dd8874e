"""Frames of a video file, or of a video of known length behind an address."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.errors import SourceError
from edge_tta.frames.faults import unusable
from edge_tta.frames.names import opencv_name, printable
from edge_tta.frames.pictures import to_rgb
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import Frame, FrameSource, Pick, Pixels, RateLimit

_MOST_FRAMES = 2**29
_HIGHEST_RATE = 1000.0
_MOST_EQUAL = 50
_HEAD = 2**16
_TILES = b"ispe", b"grid"
"""What the head of a HEIC file holds whose picture is put together from tiles."""


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, npt.NDArray[Any] | None]: ...
    def get(self, prop_id: int, /) -> float: ...
    def release(self) -> None: ...


class VideoSource(FrameSource):
    """A video from its first to its last frame. Left-out frames are decoded but not converted.

    With `pick.fps`, about that many frames per second of media time are given (never more than
    the video has). Raises SourceError at once when no first frame can be decoded.
    """

    def __init__(self, name: str, capture: Capture, pick: Pick) -> None:
        rate, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._rate = known_rate(rate)
        # Recorders that were killed leave 2**30 and the like in the header.
        self._frames = int(frames) if self._rate and 1 <= frames < _MOST_FRAMES else 0
        super().__init__(
            name,
            length=_length(self._frames, self._rate, pick) if self._frames else None,
            fps=resulting_rate(self._rate, pick),
        )
        self._capture = capture
        self._pick = pick
        tolerance_s = 0.5 / self._rate if self._rate else 0.0
        self._limit = RateLimit(pick.fps, tolerance_s) if pick.fps else None
        self._number = -1
        self._time_s = 0.0
        self._taken = 0
        self._given = 0
        self._still: Pixels | None = None
        # Decoded now, so that a missing codec is found before a model is loaded.
        self._first = self._decode_next()
        if self._first is None:
            code = _codec(capture)
            self.close()
            raise SourceError(
                f"{name}: no frame can be decoded (codec {code}): the file is damaged or this "
                f"OpenCV lacks the codec; convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
            )

    def read(self) -> Frame | None:
        """The next frame of those picked; None at the video's end."""
        if self._pick.ended(self._given):
            return None
        decoded, self._first = self._first or self._decode_next(), None
        if decoded is None:
            if 1 < self._given < _MOST_EQUAL:
                self._tell_still()
            self._count_missing()
            return None
        pixels, time_s, number = decoded
        self._compare(pixels)
        index, self._given = self._given, self._given + 1
        return Frame(index, pixels, time_s, f"{self.name}#{number}")

    def close(self) -> None:
        """Close the file."""
        self._first = None
        self._capture.release()

    def _decode_next(self) -> tuple[Pixels, float, int] | None:
        while self._grab():
            self._number += 1
            self._time_s = self._media_time_s()
            if self._limit is not None and not self._limit.takes(self._time_s):
                continue
            self._taken += 1
            if (self._taken - 1) % self._pick.stride:
                continue
            try:
                ok, raw = self._capture.retrieve()
            except cv2.error:
                ok, raw = False, None
            if ok and raw is not None and unusable(raw) is None:
                return to_rgb(raw), self._time_s, self._number
            self.dropped["unreadable"] += 1
        return None

    def _compare(self, pixels: Pixels) -> None:
        """Keep the first frame as long as all are equal to it, and tell when they are many."""
        if self._given == 0:
            self._still = pixels
        elif self._still is not None and not np.array_equal(self._still, pixels):
            self._still = None
        elif self._given + 1 == _MOST_EQUAL:
            self._tell_still()

    def _tell_still(self) -> None:
        """Say, once, that nothing moves. OpenCV 4.13 and 5.0 do not convert interlaced frames: they
        give what their memory held."""
        if self._still is not None:
            self._still = None
            self.tell(
                f"{self.name}: its first frames are all equal: a still picture, "
                f"or interlaced video, which this OpenCV cannot show; convert that: "
                f"ffmpeg -i IN -vf yadif OUT.mp4"
            )

    def _count_missing(self) -> None:
        """Count what a file or download that breaks off lacks, once. Headers are a little wrong."""
        missing = self._frames - (self._number + 1)
        if self._rate is not None:
            # Headers count frames as if they were evenly spaced, from the first packet on.
            missing = min(missing, round(self._frames - 1 - self._time_s * self._rate))
        if missing > max(5, 0.05 * self._frames):
            self.dropped["missing at the end"] = missing

    def _grab(self) -> bool:
        with quiet_opencv():
            try:
                return self._capture.grab()
            except cv2.error:
                return False

    def _media_time_s(self) -> float:
        """The stream's own time stamp; counted from the frame rate where there is none."""
        time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if math.isfinite(time_s) and (self._number == 0 or time_s > self._time_s):
            return max(time_s, 0.0)
        step_s = 1.0 / self._rate if self._rate else 1.0
        return self._time_s + step_s if self._number else 0.0


def open_video(path: Path, pick: Pick) -> VideoSource:
    """The video in a file. Raises SourceError when it is none."""
    if not os.access(path, os.R_OK):
        raise SourceError(f"no permission to read {path}; change it with chmod or run as its owner")
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes); copy or record it again")
    if path.suffix.lower() in (".heic", ".heif"):
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if all(mark in head for mark in _TILES):
            raise SourceError(
                f"{path} is a HEIC picture in tiles, of which OpenCV shows one; convert it: "
                f"heif-convert IN.heic OUT.jpg"
            )
    with quiet_opencv(), opencv_name(path) as target:
        capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        raise SourceError(
            f"{path} is not a picture, nor a video that this OpenCV can open; check it with "
            f"ffprobe, and convert it: ffmpeg -i IN -c:v libx264 OUT.mp4"
        )
    return VideoSource(printable(path.name), capture, pick)


def known_rate(rate: float) -> float | None:
    """A capture's frames per second; None where it tells its time base, or nothing."""
    return rate if 0 < rate < _HIGHEST_RATE else None


def resulting_rate(rate: float | None, pick: Pick) -> float | None:
    """Frames per second after `pick`, from the stream's own `rate` (None: unknown)."""
    known = [value for value in (rate, pick.fps) if value is not None]
    return min(known) / pick.stride if known else None


def _length(frames: int, rate: float | None, pick: Pick) -> int | None:
    """Return how many of `frames` evenly spaced frames `pick` takes; None: not known."""
    if pick.fps is not None:
        if rate is None:
            return None
        # The last frame's slot in RateLimit, at half a frame's tolerance, is one less than this.
        frames = min(frames, math.floor((frames - 0.5) * pick.fps / rate) + 1)
    return pick.count(frames)


def _codec(capture: Capture) -> str:
    """The four-letter code of a video's codec."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    letters = code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")
    return letters if letters.isprintable() and letters else "unknown"
