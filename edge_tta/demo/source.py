"""The demo's drive as a stream of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_tta.demo.spec import LABELS
from edge_tta.demo.stream import drive
from edge_tta.frames.opening import Opener
from edge_tta.frames.source import Frame, FrameSource, Pick

FRAMES = 1800
FPS = 10.0


class DemoSource(FrameSource):
    """A drive past road signs, every frame labelled; see `edge_tta.demo.stream`.

    `pick.max_frames` makes a shorter or longer drive, with all its weather in it; `pick.stride`
    leaves frames of it out; `pick.fps` says how fast it plays. For a network of other `classes`
    the signs have no label.
    """

    def __init__(self, pick: Pick, classes: Sequence[str] | None = None, seed: int = 0) -> None:
        length = pick.max_frames or pick.count(FRAMES)
        super().__init__("demo", length=length, fps=pick.fps or FPS)
        self._stride = pick.stride
        self._frames = enumerate(drive(length * pick.stride, seed))
        self._given = 0
        self._labelled = classes is None or tuple(classes) == LABELS

    def read(self) -> Frame | None:
        """The next frame, its condition in `condition`."""
        for number, seen in self._frames:
            if number % self._stride:
                continue
            index, self._given = self._given, self._given + 1
            assert self.fps is not None
            label = seen.label if self._labelled else None
            name = f"demo#{number}"
            return Frame(index, seen.frame, index / self.fps, name, label, seen.condition)
        return None


DEMO: Mapping[str, Opener] = {"demo": DemoSource}
"""What `open_source` gets where a user may name the demo."""
