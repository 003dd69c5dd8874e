"""Error over time as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_tta.errors import EdgeTTAError, OutputError
from edge_tta.files import check_place, write_whole
from edge_tta.run.frame_result import FILTER, FrameResult
from edge_tta.run.sinks import Sink

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WINDOW = 100
"""Frames that the running mean is over."""
_COLOURS = {"source": "#d1495b", "norm": "#9aa0a6", "tent": "#b08968"}
_ADAPTED = "#1b7f5c"
_TITLES = {"source": "source (as trained)", "norm": "Pred BN (norm)"}
_MORE = ("#3066be", "#8d5fd3", "#e0a030")


def need_matplotlib() -> None:
    """Raises EdgeTTAError, saying how to install it, where matplotlib is missing."""
    try:
        import matplotlib as _  # noqa: F401
    except ImportError as error:
        raise EdgeTTAError("plots need matplotlib: pip install 'edge-tta[plot]'") from error


class ErrorCurve(Sink):
    """Collects right and wrong, one byte a frame and method, and draws their running mean.

    Raises OutputError when the picture's folder is not there, EdgeTTAError without matplotlib.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise OutputError(f"cannot plot to {path}: its name must end in .png, .svg or .pdf")
        check_place(path)
        need_matplotlib()
        self._path = path
        self._adapted = ""
        self._wrong: dict[str, bytearray] = {}
        self._conditions: list[tuple[str, int]] = []
        self._frames = 0

    def take(self, result: FrameResult) -> None:
        if wrong := result.wrong:
            self.add(result.method, result.frame.condition, wrong)

    def add(self, adapted: str, condition: str | None, wrong: Mapping[str, bool]) -> None:
        """One labelled frame: wrong or not, by method; `adapted`: the label of the run's own."""
        self._adapted = adapted
        self._frames += 1
        if not self._conditions or self._conditions[-1][0] != (condition or ""):
            self._conditions.append((condition or "", self._frames - 1))
        for name, value in wrong.items():
            self._wrong.setdefault(name, bytearray()).append(value)

    def close(self) -> None:
        """Draws what there is; nothing when no frame had a label."""
        if not self._frames:
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.6), dpi=130, layout="constrained")
        axes = figure.add_subplot()
        self._shade(axes)
        spare, colours = iter(_MORE * 3), dict[str, str]()
        for name, values in self._wrong.items():
            errors = 100 * running_mean(np.frombuffer(bytes(values), np.uint8), _WINDOW)
            method = name.removesuffix(FILTER)
            own = method == self._adapted
            title = _TITLES.get(method, method) + ("" if name == method else ", filtered")
            if method not in colours:
                known = _ADAPTED if own else _COLOURS.get(method)
                colours[method] = known or next(spare)
            mean = 100 * sum(values) / len(values)
            axes.plot(
                np.arange(self._frames - len(values), self._frames),
                errors,
                color=colours[method],
                linestyle="-" if name == method else "--",
                linewidth=2.4 if own else 1.5,
                label=f"{title}: {mean:.1f} %",
                zorder=3 if own else 2,
            )
        axes.set(xlim=(0, self._frames - 1 or 1), ylim=(0, 100), xlabel="frame")
        axes.set_ylabel(f"error, mean of the last {_WINDOW} frames (%)")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=min(3, len(self._wrong)), frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=self._path.suffix[1:].lower())
        write_whole(self._path, buffer.getvalue())

    def _shade(self, axes: Axes) -> None:
        """Bands and names of the conditions."""
        ends = [start for _, start in self._conditions[1:]] + [self._frames]
        for (name, start), end in zip(self._conditions, ends, strict=True):
            if name in ("", "clear"):
                continue
            axes.axvspan(start, end, color="#000000", alpha=0.05, linewidth=0)
            middle = (start + end) / 2
            axes.text(middle, 101, name, ha="center", va="bottom", fontsize=9, color="#5f6368")


def running_mean(values: npt.NDArray[np.uint8], window: int) -> npt.NDArray[np.float64]:
    """Mean of the last `window` values at each place; of fewer at the start. (n,) -> (n,)."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    means: npt.NDArray[np.float64] = (total[ends] - total[starts]) / (ends - starts)
    return means
