"""Videos that another program writes while they are read: named pipes and standard input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy.typing as npt

from edge_tta.errors import SourceError
from edge_tta.frames.names import opencv_name, printable
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import Pick
from edge_tta.frames.video import Capture, VideoSource
from edge_tta.frames.waiting import within

STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_FORMAT = "ffmpeg -i IN -f matroska -"
_FIRST_S = 15.0
"""The writer may be started after the reader, by hand."""


class PipeCapture:
    """A capture (see `edge_tta.frames.video.Capture`) of a pipe, whose length is not known.

    A read waits as long as the writer takes, and a signal breaks off the wait.
    """

    def __init__(self, capture: Capture, name: str) -> None:
        self._capture, self._name = capture, name
        self._waiting = False

    def grab(self) -> bool:
        """Wait for the next frame; False when the writer has closed the pipe."""
        self._waiting = True
        there = within(None, self._capture.grab, self._name, "")
        self._waiting = False
        return there

    def retrieve(self) -> tuple[bool, npt.NDArray[Any] | None]:
        """Decode it: uint8 (H, W, 3) BGR."""
        return self._capture.retrieve()

    def get(self, prop_id: int, /) -> float:
        """The stream's property; no number of frames, which headers in pipes make up."""
        return 0.0 if prop_id == cv2.CAP_PROP_FRAME_COUNT else self._capture.get(prop_id)

    def release(self) -> None:
        """Close the pipe, unless the thread that waits for a frame still holds it."""
        if not self._waiting:
            self._capture.release()


def open_pipe(path: Path, pick: Pick, limit_s: float = _FIRST_S) -> VideoSource:
    """Open the video that a program writes into a pipe: every frame; reading slowly holds it up.

    Raises SourceError when it is no video, or nothing has been written for `limit_s` seconds.
    """
    standard = os.fspath(path) in STANDARD_INPUT
    name = "standard input" if standard else printable(path.name)

    def opened() -> cv2.VideoCapture:
        with quiet_opencv(), opencv_name(path) as target:
            # Another backend that is tried after FFmpeg would wait for another writer.
            return cv2.VideoCapture(target, cv2.CAP_FFMPEG)

    capture = within(limit_s, opened, name, "start the program that writes the video into it")
    if not capture.isOpened():
        raise SourceError(
            f"{name} gives no video that can be read without going back in it; write it so: "
            f"{_FORMAT}{'' if standard else f' > {printable(os.fspath(path))}'}"
        )
    return VideoSource(name, PipeCapture(capture, name), pick)
