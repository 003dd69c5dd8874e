"""A run of any length, as `edge-tta run` does it: session, state file, frames with faults."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from bench.soak.rows import SoakRow, Stretch
from edge_tta.adapter import Adapter
from edge_tta.frames.source import Frame, FrameSource, Pixels
from edge_tta.resident import resident_bytes
from edge_tta.run.keeper import StateKeeper
from edge_tta.run.session import Outputs, Session
from edge_tta.run.stopping import StopRequest

_SCENES = 64
_BLACK_EVERY = 97
"""Now and then a frame is black, as when a camera is covered."""
_DAY = 5_000
"""Frames from one dawn to the next: the light changes all the time."""


class SoakSource(FrameSource):
    """Smooth random scenes under changing light and noise, without end of their variety."""

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
    frames: int,
    *,
    model: str,
    state: Path,
    save_every_s: float = 10.0,
    stretches: int = 100,
    seed: int = 0,
    advance: Callable[[int], None] = lambda frames: None,
) -> SoakRow:
    """Runs `frames` frames and measures in `stretches` equal stretches.

    Args:
        state: file that the state is saved to as it goes; it must not be there.
        advance: called with the frames of each stretch.
    """
    spec = adapter.input_spec
    source = SoakSource(frames, spec.size, seed)
    keeper = StateKeeper(adapter, state, save_every_s)
    classes = adapter.prepare((3, spec.size, spec.size)).program.classes
    outputs = Outputs(keeper=keeper)
    session = Session(source, adapter, spec, None, outputs, classes=classes, compare=())
    row = SoakRow(adapter.config.label, model, spec.size, 0, 0, 0, 0, save_every_s, 0.0)
    every = max(1, frames // stretches)
    seconds, entropies = [], []
    stamp, started_s = _stamp(state), time.monotonic()
    for seen in session.frames(StopRequest()):
        seconds.append(sum(value for name, value in seen.stages.items() if name != "read"))
        entropies.append(seen.reading.entropy)
        if _stamp(state) != stamp:
            stamp, row.saves = _stamp(state), row.saves + 1
        if len(seconds) == every:
            row.stretches.append(_stretch(session.tally.frames, adapter, seconds, entropies))
            advance(every)
            seconds, entropies = [], []
    row.seconds = time.monotonic() - started_s
    row.frames, row.steps, row.updates = session.tally.frames, adapter.steps, adapter.updates
    row.left_out = dict(session.tally.not_learned)
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
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
