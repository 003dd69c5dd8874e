"""Frames into a video file that is whole or not there."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from edge_tta.closing import Closing
from edge_tta.errors import OutputError
from edge_tta.files import check_place
from edge_tta.frames.names import opencv_name
from edge_tta.frames.quiet import quiet_opencv
from edge_tta.frames.source import Pixels
from edge_tta.show.encoders import CODECS, Encoder, has_h264, open_encoder

VIDEO_SUFFIXES = tuple(CODECS)
"""Endings of files that `VideoRecorder` can write."""

_RESERVE = 2**20


class VideoRecorder(Closing):
    """Writes frames to NAME.part.EXT and renames it to NAME.EXT at the end.

    Frame size is that of the first frame, made even by leaving out a last row or column (codecs
    need it); later frames of another size are resized, since OpenCV would drop them silently.
    An interruption inside the `with` block still ends in a whole file; without frames, in none.

    path: its ending picks the codec: for .mp4 .m4v .mov .mkv H.264 where PyAV is installed, else
        MPEG-4 Part 2; Motion JPEG for .avi.
    fps: frames per second at which it will play.
    Raises OutputError when the file cannot be written, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self._path = Path(path)
        if not (fps > 0 and math.isfinite(fps)):
            raise ValueError(f"fps must be above 0, got {fps}")
        # MPEG-4 has 16 bits for the time base: more decimals do not open.
        self._fps = max(round(fps, 2), 0.01) if fps < 600 else float(round(fps))
        if self._path.suffix.lower() not in CODECS:
            raise OutputError(
                f"cannot record to {self._path}: its ending {self._path.suffix or '(none)'} is "
                f"not one of {' '.join(CODECS)}; use .mp4"
            )
        self._part = self._path.with_name(f"{self._path.stem}.part{self._path.suffix}")
        self._writer: Encoder | None = None
        self._size = (0, 0)
        self._written = 0
        self._check_place()

    def write(self, pixels: Pixels) -> None:
        """Append uint8 (H, W, 3) RGB."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"pixels must be uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
        # The writer does not tell when the disk is full, or gone.
        try:
            free = shutil.disk_usage(self._part.parent).free
        except OSError as error:
            raise OutputError(
                f"cannot record to {self._path} any more: {error.strerror}; check the disk"
            ) from error
        if free < _RESERVE:
            raise OutputError(
                f"the disk is full: {self._path} ends after {self._written} frames; "
                f"make room or record to another disk"
            )
        if self._writer is None:
            self._writer = self._start(pixels.shape[1], pixels.shape[0])
        width, height = self._size
        if pixels.shape[:2] != (height, width):
            pixels = _fitted(pixels, width, height)
        try:
            self._writer.write(pixels)
        except OSError as error:
            raise OutputError(
                f"cannot record to {self._path} any more: {error.strerror or error}; check the disk"
            ) from error
        self._written += 1

    def close(self) -> None:
        """Finish the file, check that it can be read, and give it its name. May be called twice."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.close()
            self._check_result()
            os.replace(self._part, self._path)
        except OSError as error:
            raise OutputError(
                f"{self._path} could not be written: {error.strerror or error}; make room or "
                "record to another disk"
            ) from error
        finally:
            self._part.unlink(missing_ok=True)

    def _check_place(self) -> None:
        """Find out now, not after the first frame, that nothing can be written there."""
        check_place(self._path, "record to")
        try:
            self._part.touch()
            self._part.unlink()
        except OSError as error:
            raise OutputError(
                f"cannot record to {self._path}: {error.strerror}; choose another folder"
            ) from error

    def _start(self, width: int, height: int) -> Encoder:
        self._size = (max(2, width & ~1), max(2, height & ~1))
        try:
            writer = open_encoder(self._part, self._fps, self._size)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            raise OutputError(
                f"cannot record to {self._path}: {error.strerror or error}; try .avi"
            ) from error
        if writer is None:
            self._part.unlink(missing_ok=True)
            codec = CODECS[self._path.suffix.lower()]
            raise OutputError(
                f"cannot record to {self._path}: this OpenCV cannot write {codec} at "
                f"{width} x {height}, {self._fps:g} fps; try .avi"
            )
        return writer

    def _check_result(self) -> None:
        """Raise OutputError unless the file opens and its first frame decodes."""
        size = self._part.stat().st_size if self._part.exists() else 0
        with quiet_opencv(), opencv_name(self._part) as target:
            capture = cv2.VideoCapture(target)
            whole = size > 0 and capture.isOpened() and capture.grab()
            capture.release()
        if not whole:
            raise OutputError(
                f"{self._path} could not be written ({size} bytes after {self._written} frames): "
                f"the disk is probably full; make room or record to another disk"
            )


def plays_only_in_players(path: Path) -> str | None:
    """Return what to say of a recording that browsers and phones will not play; None: they do."""
    if has_h264() and path.suffix.lower() != ".avi":
        return None
    if path.suffix.lower() == ".avi":
        return f"{path} is Motion JPEG, which browsers do not play; .mp4 can be H.264"
    return (
        f"{path} is MPEG-4 Part 2, which players like VLC show and browsers do not; for H.264: "
        "pip install 'edge-tta[video]'"
    )


def _fitted(pixels: Pixels, width: int, height: int) -> Pixels:
    """Cut off an odd last row or column; resize anything else."""
    if 0 <= pixels.shape[0] - height <= 1 and 0 <= pixels.shape[1] - width <= 1:
        return pixels[:height, :width]
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
