"""Latency of one stream, case against case, taking turns.

Each case sees the same frames. A turn is a number of frames of one case; turns go round, so that
whatever else the machine does meanwhile meets all cases alike. The first frames of a turn find the
caches and threads as another case left them, which is not so on a device that runs one method
alone: they are not counted, nor are the warm-ups before the first turn.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.cost.case import Case

UNSTABLE = 0.1
"""Relative spread of the turns' medians, or share of the wall time without a processor (one
thread), from which figures are called unstable."""

SETTLING = 2
"""Frames at the start of each turn that are not counted."""


@dataclass
class Timing:
    """Times of one case; seconds, a value a frame; `medians` has one a turn.

    `learned` frames were learned from in `seconds` of all turns.
    """

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    medians: list[float] = field(default_factory=list)
    learned: int = 0
    seconds: float = 0.0

    def add(self, turn: Timing) -> None:
        """Appends the frames of a turn."""
        self.wall += turn.wall
        self.processor += turn.processor
        self.medians.append(float(np.median(turn.wall)))
        self.learned += turn.learned
        self.seconds += turn.seconds
        for name, seconds in turn.stages.items():
            self.stages.setdefault(name, []).extend(seconds)


Turn = Callable[[int, int], Timing]
"""Times so many frames of a case, after so many that do not count."""


class Clock:
    """Shares the time of a frame out among stages, each ended by a call with its name.

    wait: called before each look at the clock; a CUDA device has to have finished.
    """

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait, self._last = wait, 0.0
        self.stages: dict[str, float] = {}

    def start(self) -> None:
        """Begins a frame."""
        self.stages = {}
        self._wait()
        self._last = time.perf_counter()

    def __call__(self, name: str) -> None:
        self._wait()
        now = time.perf_counter()
        self.stages[name] = self.stages.get(name, 0.0) + now - self._last
        self._last = now


def wait_of(device: str) -> Callable[[], None]:
    """A function that waits until a device has finished."""
    if device.startswith("cuda"):
        wait: Callable[[], None] = importlib.import_module("torch").cuda.synchronize
        return wait
    return lambda: None


def measure_latency(
    cases: Sequence[Turn],
    *,
    n: int,
    warm_up: int,
    turns: int,
    advance: Callable[[], None] = lambda: None,
) -> list[Timing]:
    """Timings of cases of one device and one number of threads.

    Args:
        n: frames of each case that count, shared out over the turns.
        warm_up: frames of each case before the first turn.
        advance: called after each turn of a case.
    """
    timings = [Timing() for _ in cases]
    for case in cases:
        case(0, warm_up)
    for turn in range(turns):
        share = n * (turn + 1) // turns - n * turn // turns
        for case, timing in zip(cases, timings, strict=True):
            if share:
                timing.add(case(share, SETTLING))
            advance()
    return timings


def latency_row(case: Case, model: str, timing: Timing, budget_ms: float | None) -> dict[str, Any]:
    """A row of `bench latency`."""
    wall = np.asarray(timing.wall)
    row: dict[str, Any] = {
        **case.head,
        "model": model,
        "n": len(wall),
        "latency_s": {**summary(wall), "raw": [round(float(v), 6) for v in wall]},
        "processor_s": summary(np.asarray(timing.processor)),
        "fps": float(len(wall) / wall.sum()),
        "learned_per_s": timing.learned / timing.seconds if timing.seconds else 0.0,
        "stages_s": {name: summary(np.asarray(v)) for name, v in timing.stages.items()},
        "drift": drift(wall),
        "unstable": instability(timing, case),
    }
    if budget_ms is not None:
        row["budget_ms"] = budget_ms
        row["misses"] = int((wall > budget_ms / 1e3).sum())
    return row


def summary(values: Any) -> dict[str, float]:
    """p50, p90, p99 and mean, seconds."""
    p50, p90, p99 = (float(v) for v in np.percentile(values, (50, 90, 99)))
    return {"p50": p50, "p90": p90, "p99": p99, "mean": float(np.mean(values))}


def drift(wall: Any) -> float:
    """Median of the last tenth of the frames over that of the first; 1 where costs are flat."""
    tenth = max(1, len(wall) // 10)
    return float(np.median(wall[-tenth:]) / np.median(wall[:tenth]))


def instability(timing: Timing, case: Case) -> str | None:
    """Return why the figures are not to be relied on; None where nothing speaks against them."""
    reasons = []
    medians = np.asarray(timing.medians)
    spread = float((medians.max() - medians.min()) / np.median(medians))
    if spread > UNSTABLE:
        reasons.append(f"medians of the turns differ by {100 * spread:.0f} %")
    if case.threads == 1 and case.device == "cpu":
        waiting = 1 - sum(timing.processor) / sum(timing.wall)
        if waiting > UNSTABLE:
            reasons.append(f"the process had no processor for {100 * waiting:.0f} % of the time")
    return "; ".join(reasons) or None


def ratios(rows: Sequence[dict[str, Any]]) -> None:
    """Adds to each row its median wall and processor time over those of `tent-stock`."""
    keys = ("device", "threads")
    for row in rows:
        peers = [
            r for r in rows if r["label"] == "tent-stock" and all(r[k] == row[k] for k in keys)
        ]
        if peers:
            row["ratio_to_stock"] = {
                "wall": row["latency_s"]["p50"] / peers[0]["latency_s"]["p50"],
                "processor": row["processor_s"]["p50"] / peers[0]["processor_s"]["p50"],
            }
