"""Long runs, as `edge-tta run` does them: whether memory, latency and numbers stay as they are."""

from __future__ import annotations

import dataclasses
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.methods import predictors_of
from bench.report.look import STYLE
from edge_tta.adapter import Adapter
from edge_tta.files import write_whole
from edge_tta.frames.source import Frame, FrameSource, Pixels
from edge_tta.resident import resident_bytes
from edge_tta.run.loop import Loop
from edge_tta.run.sinks.keeper import StateKeeper
from edge_tta.run.stopping import StopRequest

_SETTLED = 0.1
"""Share of the run at its start that growth leaves out: allocators and caches fill up."""
_SCENES = 64
_STRETCHES = 100
_BLACK_EVERY = 97
"""Now and then a frame is black, as when a camera is covered."""
_DAY = 5_000
"""Frames from one dawn to the next: the light changes all the time."""


@dataclass
class Stretch:
    """Some thousand frames of a run.

    Attributes:
        frames: seen by its end, since the start.
        resident_bytes: of the process at its end.
        threads, files: of the process at its end; None where the system does not tell.
        p50_s, p99_s: seconds for a frame, without waiting for the source.
        entropy: mean over its predictions, nats.
        finite: whether all of the state and all predictions were finite.
    """

    frames: int
    resident_bytes: int
    threads: int | None
    files: int | None
    p50_s: float
    p99_s: float
    entropy: float
    finite: bool


@dataclass
class SoakRow:
    """A long run of one method.

    Attributes:
        left_out: why -> frames with nothing to learn from, as they were mixed in.
        save_every_s: seconds between saves of the state.
    """

    method: str
    model: str
    size: int
    frames: int
    steps: int
    updates: int
    saves: int
    save_every_s: float
    seconds: float
    left_out: dict[str, int] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def growth_bytes(self) -> float:
        """Bytes that the process grows by in 100,000 frames: the slope of a straight line."""
        settled = self._settled()
        if len(settled) < 2:
            return 0.0
        frames = np.array([stretch.frames for stretch in settled], float)
        slope = np.polyfit(frames, [float(s.resident_bytes) for s in settled], 1)[0]
        return float(slope) * 100_000

    @property
    def latency_ratio(self) -> float:
        """Median latency of the last fifth over that of the first fifth after settling."""
        medians = [stretch.p50_s for stretch in self._settled()]
        part = max(1, len(medians) // 5)
        return float(np.median(medians[-part:]) / np.median(medians[:part]))

    @property
    def finite(self) -> bool:
        """Return True where all numbers were."""
        return all(stretch.finite for stretch in self.stretches)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a result file."""
        fields = dataclasses.asdict(self)
        stretches = fields.pop("stretches")
        fields |= {
            "soak": True,
            "finite": self.finite,
            "growth_bytes_in_100000_frames": self.growth_bytes,
            "latency_ratio_end_to_start": self.latency_ratio,
            "how": "resident set (VmRSS of /proc/self/status) at the end of each stretch",
        }
        names = [field.name for field in dataclasses.fields(Stretch)]
        return fields | {"stretches": {name: [s[name] for s in stretches] for name in names}}

    def _settled(self) -> list[Stretch]:
        settled = [one for one in self.stretches if one.frames > _SETTLED * self.frames]
        return settled or self.stretches


class SoakSource(FrameSource):
    """Smooth random scenes under changing light and noise, never the same twice."""

    def __init__(self, frames: int, size: int, seed: int = 0) -> None:
        super().__init__("soak", length=frames)
        self._rng = np.random.default_rng(seed)
        low = self._rng.integers(0, 256, (_SCENES, 6, 6, 3)).astype(np.float32)
        self._scenes = [cv2.resize(x, (size, size), interpolation=cv2.INTER_LINEAR) for x in low]
        self._given = 0

    def read(self) -> Frame | None:
        """The next frame."""
        if self._given == self.length:
            return None
        index, self._given = self._given, self._given + 1
        return Frame(index, self._pixels(index), float(index), f"soak#{index}")

    def _pixels(self, index: int) -> Pixels:
        scene = self._scenes[int(self._rng.integers(_SCENES))]
        if index % _BLACK_EVERY == _BLACK_EVERY - 1:
            return np.zeros(scene.shape, np.uint8)
        light = 0.55 + 0.45 * np.cos(2 * np.pi * index / _DAY)
        noise = self._rng.normal(0.0, 6.0, scene.shape).astype(np.float32)
        return np.asarray(np.clip(scene * light + noise, 0, 255), np.uint8)


def measure_soak(
    adapter: Adapter,
    label: str,
    frames: int,
    *,
    model: str,
    state: Path,
    save_every_s: float = 10.0,
    seed: int = 0,
    advance: Callable[[int], None] = lambda frames: None,
) -> SoakRow:
    """Runs `frames` frames and measures in equal stretches, a hundred at most.

    Args:
        label: of the adapter's method, with what stands around it (`bench.methods`).
        state: file that the state is saved to as it goes; it must not be there.
        advance: called with the frames of each stretch.
    """
    spec = adapter.input_spec
    side = max(spec.shape[1:])
    source = SoakSource(frames, side, seed)
    predictors = predictors_of(adapter, label)
    keeper = StateKeeper(adapter, state, save_every_s, predictors.guard)
    loop = Loop(source, predictors, spec, [keeper])
    row = SoakRow(label, model, side, 0, 0, 0, 0, save_every_s, 0.0)
    every = max(1, frames // _STRETCHES)
    seconds, entropies = [], []
    stamp, started_s = _stamp(state), time.monotonic()
    with loop:
        for result in loop.frames(StopRequest()):
            seconds.append(sum(value for name, value in result.stages.items() if name != "read"))
            entropies.append(result.reading.entropy)
            if _stamp(state) != stamp:
                stamp, row.saves = _stamp(state), row.saves + 1
            if len(seconds) == every:
                row.stretches.append(_stretch(loop.tally.frames, adapter, seconds, entropies))
                advance(every)
                seconds, entropies = [], []
    row.seconds = time.monotonic() - started_s
    row.frames, row.steps, row.updates = loop.tally.frames, adapter.steps, adapter.updates
    row.left_out = dict(loop.tally.not_learned)
    return row


def _stretch(
    frames: int, adapter: Adapter, seconds: list[float], entropies: list[float]
) -> Stretch:
    finite = bool(np.isfinite(entropies).all()) and all(
        bool(value.isfinite().all()) for value in adapter.state.values()
    )
    p50, p99 = np.quantile(seconds, (0.5, 0.99))
    return Stretch(
        frames,
        resident_bytes() or 0,  # the command line refuses systems that do not tell
        threading.active_count(),
        _open_files(),
        float(p50),
        float(p99),
        float(np.mean(entropies)),
        finite,
    )


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def plot_soak(rows: Sequence[SoakRow], path: Path) -> None:
    """Resident memory above, latency (median and 99th percentile) below, against frames."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.6), dpi=130, layout="constrained")
        memory, latency = figure.subplots(2, 1, sharex=True)
        for row in rows:
            frames = [stretch.frames for stretch in row.stretches]
            mib = [stretch.resident_bytes / 2**20 for stretch in row.stretches]
            (line,) = memory.plot(frames, mib, label=row.method)
            colour = line.get_color()
            latency.plot(frames, [1e3 * s.p50_s for s in row.stretches], color=colour)
            latency.plot(
                frames, [1e3 * s.p99_s for s in row.stretches], color=colour, linestyle=":"
            )
        memory.set_ylabel("resident memory (MiB)")
        latency.set_ylabel("ms a frame, median; dotted: p99")
        latency.set_xlabel("frames")
        for axes in (memory, latency):
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        if len(rows) > 1:
            memory.legend(frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:].lower() or "png")
    write_whole(path, buffer.getvalue())
