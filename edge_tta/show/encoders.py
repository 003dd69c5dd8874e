"""Encoders of video files: H.264 by PyAV where it is there, else what OpenCV's wheels can write."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from edge_tta.frames.names import opencv_name
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import Pixels

# What opens in the opencv-python wheels; avc1 (H.264) does not.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_QUALITY = {"crf": "23", "preset": "superfast"}


class Encoder(Protocol):
    """A video that is being written. All failures are OSError."""

    def write(self, pixels: Pixels) -> None:
        """Append uint8 (H, W, 3) RGB of the size that was given at the start."""

    def close(self) -> None:
        """Write the rest and close the file."""


def has_h264() -> bool:
    """Tell whether H.264 can be written, which browsers and phones play."""
    if importlib.util.find_spec("av") is None:
        return False
    try:
        av: Any = importlib.import_module("av")
        av.codec.Codec("libx264", "w")
    except (ImportError, ValueError):
        return False
    return True


def open_encoder(path: Path, fps: float, size: tuple[int, int]) -> Encoder | None:
    """Return an encoder for a path by its ending, in CODECS; None: none can write this.

    size: width and height in pixels, both even.
    """
    container = _CONTAINERS.get(path.suffix.lower())
    if container is not None and has_h264():
        return _H264(path, container, fps, size)
    with quiet_opencv(), opencv_name(path) as target:
        code = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        writer = cv2.VideoWriter(target, code, fps, size)
    return _OpenCV(writer) if writer.isOpened() else None


class _H264:
    def __init__(self, path: Path, container: str, fps: float, size: tuple[int, int]) -> None:
        self._av: Any = importlib.import_module("av")
        # FFmpeg opens it once more by its name, and a relative one with a colon is an address.
        self._file = path.absolute().open("wb")
        begin_first = {"movflags": "faststart"} if container in ("mp4", "mov") else {}
        with self._failing():
            self._container = self._av.open(self._file, "w", format=container, options=begin_first)
            rate = Fraction(fps).limit_denominator(1000)
            self._stream = self._container.add_stream("libx264", rate=rate, options=_QUALITY)
            self._stream.width, self._stream.height = size
            self._stream.pix_fmt = "yuv420p"  # others do not play everywhere
            self._stream.codec_context.thread_count = 1  # the cores are the network's

    def write(self, pixels: Pixels) -> None:
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        with self._failing():
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        try:
            with self._failing():
                self._container.mux(self._stream.encode())
                self._container.close()
        finally:
            self._file.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """FFmpeg's failures as OSError."""
        try:
            yield
        except self._av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error


class _OpenCV:
    def __init__(self, writer: cv2.VideoWriter) -> None:
        self._writer = writer

    def write(self, pixels: Pixels) -> None:
        self._writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()
