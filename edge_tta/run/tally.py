"""Counts over a run: errors by method and condition, latency by stage. Bounded in memory."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field

_KEPT = 4096
"""Latest latencies that percentiles are taken of."""


@dataclass
class Errors:
    """Wrong predictions of one method, in all and by condition."""

    seen: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, wrong: bool, condition: str | None) -> None:
        """Count one labelled frame."""
        key = condition or ""
        self.seen[key] += 1
        self.wrong[key] += wrong

    def error(self, condition: str | None = None) -> float:
        """Share of wrong predictions, 0..1, under one condition or in all; NaN when none seen."""
        if condition is None:
            seen, wrong = self.seen.total(), self.wrong.total()
        else:
            seen, wrong = self.seen[condition], self.wrong[condition]
        return wrong / seen if seen else math.nan


@dataclass
class Mean:
    """Mean of what was added."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """One more; left out if it is not finite."""
        if math.isfinite(value):
            self.total += value
            self.count += 1

    @property
    def value(self) -> float:
        """The mean; NaN without any."""
        return self.total / self.count if self.count else math.nan


class Latencies:
    """Seconds that something took, over the latest few thousand times."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        """One more."""
        self._latest.append(seconds)

    def quantile(self, share: float) -> float:
        """The smallest latency that at least `share` of them do not exceed; NaN without any."""
        if not self._latest:
            return math.nan
        ordered = sorted(self._latest)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass
class Tally:
    """What a run has seen so far.

    Attributes:
        errors: by method label, over labelled frames.
        latencies: by stage.
        predicted: how often each class was predicted, by method label.
        entropies: of predictions that were finite, in nats, by method label.
        not_learned: why -> frames that were predicted and changed nothing.
        guarded: how often the guard did what, by kind of event.
        fallen: frames that the source answered because the guard had fallen back.
        last_harm: why it did, the last time.
        source_share: of the frames, on which the guard ran the source network too; None: no guard.
    """

    frames: int = 0
    labelled: int = 0
    errors: dict[str, Errors] = field(default_factory=dict)
    entropies: dict[str, Mean] = field(default_factory=dict)
    latencies: dict[str, Latencies] = field(default_factory=dict)
    predicted: dict[str, Counter[int]] = field(default_factory=dict)
    not_learned: Counter[str] = field(default_factory=Counter)
    guarded: Counter[str] = field(default_factory=Counter)
    fallen: int = 0
    last_harm: str = ""
    source_share: float | None = None

    def conditions(self) -> list[str]:
        """The named conditions in the order they came."""
        found: dict[str, None] = {}
        for errors in self.errors.values():
            found.update(dict.fromkeys(key for key in errors.seen if key))
        return list(found)

    def time(self, stages: dict[str, float]) -> None:
        """Add one frame's seconds by stage."""
        for stage, seconds in stages.items():
            self.latencies.setdefault(stage, Latencies()).add(seconds)
