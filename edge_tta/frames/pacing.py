"""Videos and pictures given no faster than a camera would give them."""

from __future__ import annotations

import time

from edge_tta.frames.source import Frame, FrameSource


class PacedSource(FrameSource):
    """The frames of another source, which tells its `fps`, each at least 1 / fps s after the last.

    A consumer that is slower waits for nothing, and nothing is made up for later.
    """

    def __init__(self, source: FrameSource) -> None:
        super().__init__(source.name, length=source.length, fps=source.fps)
        self.dropped = source.dropped
        self._source = source
        self._interval_s = 1.0 / source.fps if source.fps else 0.0
        self._due_s = 0.0

    def read(self) -> Frame | None:
        """Wait until the next frame is due; None after the last one."""
        self._source.tell = self.tell
        frame = self._source.read()
        now_s = time.monotonic()
        if frame is not None and now_s < self._due_s:
            time.sleep(self._due_s - now_s)
        self._due_s = max(now_s, self._due_s) + self._interval_s
        return frame

    def close(self) -> None:
        """Close the other source."""
        self._source.close()
