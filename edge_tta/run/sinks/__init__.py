"""Sinks that take a run's results. A new one is one file here."""

from __future__ import annotations

from typing import ClassVar

from edge_tta.frames.source import FrameSource
from edge_tta.run.frame_result import FrameResult


class Sink:
    """Takes every frame's result: to a window, a file, a page.

    Attributes:
        stage: what its time is told under; None: it is not told.
    """

    stage: ClassVar[str | None] = None

    def wants_source(self) -> bool:
        """Return True where the source network is to run on the coming frame, to be shown."""
        return False

    def open(self, source: FrameSource) -> None:
        """Gets ready for the frames of a source, which is open. Raises EdgeTTAError."""

    def take(self, result: FrameResult) -> None:
        """Takes one result. Raises OutputError where it cannot be written."""
        raise NotImplementedError

    def close(self) -> None:
        """Finishes, after the last frame or a failure. Raises OutputError."""
