"""The demo's drive as a stream of frames."""

from __future__ import annotations

from edge_tta.demo.stream import drive
from edge_tta.frames.source import Frame, FrameSource, Pick

FRAMES = 1800
FPS = 10.0


class DemoSource(FrameSource):
    """A drive past road signs, every frame labelled; see `edge_tta.demo.stream`.

    `pick.max_frames` makes a shorter or longer drive, with all its weather in it; `pick.stride`
    leaves frames of it out; `pick.fps` says how fast it plays.
    """

    def __init__(self, pick: Pick, seed: int = 0) -> None:
        length = pick.max_frames or pick.count(FRAMES)
        super().__init__("demo", length=length, fps=pick.fps or FPS)
        self._stride = pick.stride
        self._frames = enumerate(drive(length * pick.stride, seed))
        self._given = 0

    def read(self) -> Frame | None:
        """The next frame, its condition in `condition`."""
        for number, seen in self._frames:
            if number % self._stride:
                continue
            index, self._given = self._given, self._given + 1
            assert self.fps is not None
            return Frame(
                index, seen.frame, index / self.fps, f"demo#{number}", seen.label, seen.condition
            )
        return None
