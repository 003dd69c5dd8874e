"""Annotated pictures: in a window, in a video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_tta.frames.source import FrameSource
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.sinks import Sink
from edge_tta.show import VideoRecorder, Window

_DEFAULT_FPS = 25.0


class WindowSink(Sink):
    """A window; `end` is called when the user closes it. Ask `display_problem` first."""

    stage = "show"

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def open(self, source: FrameSource) -> None:
        self._window = Window(f"edge-tta: {source.name}")

    def take(self, result: FrameResult) -> None:
        if not self._window.show(result.picture):
            self._end()

    def close(self) -> None:
        self._window.close()


class VideoSink(Sink):
    """A video file. fps: at which it plays where the source has no rate of its own."""

    stage = "show"

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self._path, self._fps = path, fps

    def open(self, source: FrameSource) -> None:
        self._video = VideoRecorder(self._path, source.fps or self._fps or _DEFAULT_FPS)

    def take(self, result: FrameResult) -> None:
        self._video.write(result.picture)

    def close(self) -> None:
        self._video.close()
