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
    """A window; `end` is called when the user closes it. Ask `display_problem` first.

    beside: the source network's outputs are shown too.
    """

    stage = "show"

    def __init__(self, end: Callable[[], None], *, beside: bool = False) -> None:
        self._end, self._beside = end, beside

    def wants_source(self) -> bool:
        return self._beside

    def open(self, source: FrameSource) -> None:
        self._window = Window(f"edge-tta: {source.name}")

    def take(self, result: FrameResult) -> None:
        if not self._window.show(result.picture):
            self._end()

    def close(self) -> None:
        self._window.close()


class VideoSink(Sink):
    """A video file. fps: at which it plays where the source has no rate of its own.

    beside: the source network's outputs are shown too.
    """

    stage = "show"

    def __init__(self, path: Path, fps: float | None = None, *, beside: bool = False) -> None:
        self._path, self._fps, self._beside = path, fps, beside

    def wants_source(self) -> bool:
        return self._beside

    def open(self, source: FrameSource) -> None:
        self._video = VideoRecorder(self._path, source.fps or self._fps or _DEFAULT_FPS)

    def take(self, result: FrameResult) -> None:
        self._video.write(result.picture)

    def close(self) -> None:
        self._video.close()
