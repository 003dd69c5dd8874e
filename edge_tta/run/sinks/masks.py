"""Masks as pictures of class numbers, a file a frame."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge_tta.errors import OutputError
from edge_tta.files import write_whole
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.sinks import Sink
from edge_tta.tasks.segmentation import MaskReading


class MaskSink(Sink):
    """Writes NUMBER.png for each frame into a folder, which is made: gray, the class of each
    position, as large as the network's output.

    Raises OutputError where the folder cannot be made.
    """

    stage = "masks"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {folder}: {error.strerror}; choose another place"
            ) from error

    def take(self, result: FrameResult) -> None:
        reading = result.reading
        assert isinstance(reading, MaskReading)  # the command line has checked the task
        _, data = cv2.imencode(".png", reading.mask)
        write_whole(self._folder / f"{result.frame.index:06d}.png", bytes(data))
