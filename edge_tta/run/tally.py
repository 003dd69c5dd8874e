"""Counts over a run: errors by method and condition, latency by stage. Bounded in memory."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from edge_tta.run.frame_result import FilterReport, FrameResult, GuardReport
from edge_tta.tasks import Reading
from edge_tta.tasks.detection import BoxReading

_LONG = 20
"""Frames of one class after another, on average."""


@dataclass
class Mean:
    """Mean of what was added; what is not finite is left out. NaN without any."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """One more."""
        if math.isfinite(value):
            self.total += value
            self.count += 1

    @property
    def value(self) -> float:
        """The mean."""
        return self.total / self.count if self.count else math.nan


class Errors(dict[str, Mean]):
    """Shares of wrong predictions of one method by condition; "" where none is named."""

    def add(self, wrong: bool, condition: str | None) -> None:
        """Counts one labelled frame."""
        self.setdefault(condition or "", Mean()).add(wrong)

    def error(self, condition: str | None = None) -> float:
        """Share of wrong predictions, 0..1, under one condition or in all; NaN when none seen."""
        if condition is not None:
            return self.get(condition, Mean()).value
        seen = self.values()
        return Mean(sum(mean.total for mean in seen), sum(mean.count for mean in seen)).value


class Latencies(deque[float]):
    """Seconds that something took, the latest few thousand times."""

    def __init__(self) -> None:
        super().__init__(maxlen=4096)

    def quantile(self, share: float) -> float:
        """The smallest latency that at least `share` of them do not exceed; NaN without any."""
        return float(np.quantile(self, share, method="inverted_cdf")) if self else math.nan


@dataclass
class Tally:
    """Counts of a run so far.

    Attributes:
        errors: by method label, over labelled frames.
        latencies: by stage.
        seen: frames, by method label.
        predicted: how often each class was predicted, by method label; of detectors, its boxes.
        entropies: of predictions that were finite, in nats, by method label.
        not_learned: why -> frames that were predicted and changed nothing.
        guard, filter: its latest report; None: there is none.
        source_weight: mean weight of the source in the answers, 0..1.
        classes, blocks: true classes seen, and how often one followed another.
        fallen: frames while the guard had fallen back. last_harm: why it had, the last time.
        by_source: frames on which it chose the source's answer without having seen harm.
    """

    frames: int = 0
    labelled: int = 0
    errors: dict[str, Errors] = field(default_factory=partial(defaultdict, Errors))
    entropies: dict[str, Mean] = field(default_factory=partial(defaultdict, Mean))
    latencies: dict[str, Latencies] = field(default_factory=partial(defaultdict, Latencies))
    predicted: dict[str, Counter[int]] = field(default_factory=partial(defaultdict, Counter))
    seen: Counter[str] = field(default_factory=Counter)
    not_learned: Counter[str] = field(default_factory=Counter)
    guard: GuardReport | None = None
    filter: FilterReport | None = None
    classes: set[int] = field(default_factory=set)
    blocks: int = 0
    source_weight: float = 0.0
    fallen: int = 0
    last_harm: str = ""
    by_source: int = 0
    _label: int | None = None

    def conditions(self) -> list[str]:
        """The named conditions in the order they came."""
        every = (condition for errors in self.errors.values() for condition in errors)
        return list(dict.fromkeys(condition for condition in every if condition))

    @property
    def sorted_by_class(self) -> bool:
        """Whether each of several classes came in one long block, as in a sorted data set."""
        return 1 < len(self.classes) == self.blocks and self.labelled >= _LONG * self.blocks

    def count(self, result: FrameResult) -> None:
        """Counts one frame."""
        self.frames += 1
        if result.frame.label is not None:
            self.count_label(result.frame.label)
        if result.outcome.empty:
            self.not_learned[result.outcome.name.lower()] += 1
        self.guard, self.filter = result.guard, result.filter
        if result.guard is not None:
            self.source_weight += (result.guard.weight - self.source_weight) / self.frames
            if result.guard.harmed:
                self.fallen += 1
                self.last_harm = result.guard.fallen or ""
            elif result.guard.fallen is not None:
                self.by_source += 1
        for name, reading in result.readings.items():
            self.seen[name] += 1
            self.predicted[name].update(_classes_of(reading))
            self.entropies[name].add(reading.entropy)
        for name, wrong in result.wrong.items():
            self.errors[name].add(wrong, result.frame.condition)

    def count_label(self, label: int) -> None:
        """Counts a true class."""
        self.labelled += 1
        self.blocks += label != self._label
        self.classes.add(label)
        self._label = label

    def time(self, stages: Mapping[str, float]) -> None:
        """Adds one frame's seconds by stage."""
        for stage, seconds in stages.items():
            self.latencies[stage].append(seconds)


def _classes_of(reading: Reading) -> list[int]:
    """Return the class of each box, or the one class of a frame."""
    if isinstance(reading, BoxReading):
        classes: list[int] = reading.boxes.classes.tolist()
        return classes
    return [reading.index]
