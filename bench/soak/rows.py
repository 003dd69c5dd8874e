"""What a long run was like, in equal stretches of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_SETTLED = 0.1
"""Share of the run at its start that growth is not judged by: allocators and caches fill up."""


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
        """Whether all numbers were."""
        return all(stretch.finite for stretch in self.stretches)

    def as_dict(self) -> dict[str, Any]:
        """As it goes into a result file."""
        found = dataclasses.asdict(self)
        stretches = found.pop("stretches")
        found |= {
            "soak": True,
            "finite": self.finite,
            "growth_bytes_in_100000_frames": self.growth_bytes,
            "latency_ratio_end_to_start": self.latency_ratio,
            "how": "resident set (VmRSS of /proc/self/status) at the end of each stretch",
        }
        names = [field.name for field in dataclasses.fields(Stretch)]
        return found | {"stretches": {name: [s[name] for s in stretches] for name in names}}

    def _settled(self) -> list[Stretch]:
        found = [stretch for stretch in self.stretches if stretch.frames > _SETTLED * self.frames]
        return found or self.stretches
