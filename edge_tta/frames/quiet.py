"""Keeping OpenCV's own chatter off the terminal where this package reports the failure itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import cv2

_SILENT = 0  # cv2.utils.logging.LOG_LEVEL_SILENT; OpenCV 4.8 has no Python name for it


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV writes nothing to stderr inside this block, FFmpeg nothing from now on.

    Without it, a file that is not a video prints several lines before the one that helps. FFmpeg's
    level is read by OpenCV from the environment when it opens a file; one the user set is kept.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # The function has moved: cv2.setLogLevel in 4.x, cv2.utils.logging.setLogLevel later.
    logging: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
