"""Result of one frame, as every output of a run gets it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from edge_tta.frames.source import Frame, Pixels
from edge_tta.guard import Event, Guard
from edge_tta.guard.comparison import Comparison
from edge_tta.run.timing import Stages
from edge_tta.show import Overlay, Tone, draw, enlarged
from edge_tta.tasks import Reading
from edge_tta.temporal import Accuracy, Filtered

SOURCE = "source"
"""Label of the network as trained."""

FILTER = "+filter"
"""Ending of the label of a method whose answers are filtered over time."""


class Outcome(Enum):
    """Outcome of adaptation on a frame. The value is its text, facts to be filled in."""

    UPDATED = "updates so far: {updates}"
    ACCUMULATED = "learning: {position} of {accumulation} to an update"
    CALIBRATED = "calibrated"
    NO_NEWS = "too little news in the picture to adapt by"
    BESIDE = "learning beside: frames taken {steps}, updates so far: {updates}"
    SPACED = "predicted; adapts on every {every} frames"
    NO_TIME = "predicted; adapts when the budget has time for it"
    BLACK = "black picture: nothing to learn from"
    BLANK = "blank picture: nothing to learn from"
    PAUSED = "paused"
    UNCHANGED = "method source changes nothing"

    @property
    def learns(self) -> bool:
        """Return True where there was a backward pass, or is to be one."""
        return self in (Outcome.UPDATED, Outcome.ACCUMULATED, Outcome.BESIDE)

    @property
    def adapts(self) -> bool:
        """Return True where statistics or parameters changed."""
        return self.learns or self is Outcome.CALIBRATED

    @property
    def empty(self) -> bool:
        """Return True where the picture shows nothing."""
        return self in (Outcome.BLACK, Outcome.BLANK)


@dataclass(frozen=True)
class GuardReport:
    """A guard after a frame.

    Attributes:
        fallen: why most of the answer is the source's; None: it is not.
        events: what it did at this frame.
        falls: how often it fell back.
        source_share: share of the frames on which the source network ran for it.
        weight: of the source in the answer, 0..1.
        disagreement: share of the latest frames that both networks saw, or of their `parts`, on
            which they differ; None: before the first.
        drift: of the trained parameters from the source's, over their size.
        accuracy, source_accuracy: estimated share of right answers lately, of the adapted and of
            the source network, each frame alone; None: unknown.
        harmed: it has fallen back because of harm; of masks and boxes the source answers too until
            the adapted network is clearly surer.
        parts: positions or boxes, of tasks of which each answer is one network's; None: classes,
            of which both are blended.
    """

    fallen: str | None
    events: Sequence[Event]
    falls: int
    source_share: float
    weight: float
    disagreement: float | None
    drift: float
    accuracy: Accuracy | None
    source_accuracy: Accuracy | None
    harmed: bool = False
    parts: str | None = None

    @classmethod
    def of(cls, guard: Guard, events: int) -> GuardReport:
        """Reports on a guard that has done so many things at the frame."""
        judge = guard.judge
        return cls(
            fallen=guard.fallen,
            events=guard.latest(events),
            falls=guard.falls,
            source_share=guard.source_frames / max(guard.frames, 1),
            weight=guard.weight,
            disagreement=None if judge is None else judge.disagreement,
            drift=guard.drift,
            accuracy=None if judge is None else judge.accuracy,
            source_accuracy=None if judge is None else judge.source_accuracy,
            harmed=guard.harmed,
            parts=judge.parts if isinstance(judge, Comparison) else None,
        )

    def record(self) -> dict[str, Any]:
        """Return whether the source answers, why, and what was measured, in JSON's types."""
        why = {} if self.fallen is None else {"why": self.fallen}
        return {
            "fell_back": self.harmed,
            **why,
            "source_weight": self.weight,
            "disagreement": self.disagreement,
            "drift": self.drift,
            "accuracy": _record_of(self.accuracy),
            "source_accuracy": _record_of(self.source_accuracy),
        }


def _record_of(accuracy: Accuracy | None) -> dict[str, float] | None:
    return None if accuracy is None else accuracy._asdict()


@dataclass(frozen=True)
class FilterReport:
    """The class filter after a frame.

    Attributes:
        alone: weight of taking each frame alone, 0..1; near 1 where neighbours tell nothing.
        stay_frames, stay_s: how long the class is expected to stay, in frames like the latest
            ones and in seconds; None: no frame had a time.
        novelty: how much of the frame is news, 0..1.
        accuracy, accuracy_alone: estimated share of right answers lately, and of what frames say
            alone; None: unknown.
        frames: the latest, that these are over.
    """

    alone: float
    stay_frames: float
    stay_s: float | None
    novelty: float
    accuracy: Accuracy | None
    accuracy_alone: Accuracy | None
    frames: int = 0

    @classmethod
    def of(cls, filtered: Filtered, guard: Guard | None) -> FilterReport:
        """Reports on a filter; the guard inside knows where the estimates cannot be."""
        belief = filtered.belief
        if belief is None:
            return cls(1.0, 1.0, None, 1.0, None, None)
        judge = None if guard is None else guard.judge
        doubt = 0.0 if judge is None else judge.contradiction
        adapting = guard is None or guard.fallen is None
        return cls(
            belief.alone,
            belief.stay,
            filtered.stay_s,
            filtered.novelty,
            filtered.accuracy.of_answers(doubt, adapting=adapting),
            filtered.accuracy.of_frames(doubt, adapting=adapting),
            filtered.accuracy.frames,
        )

    @property
    def stay(self) -> str:
        """How long the class is expected to stay, in words."""
        if self.stay_s is not None:
            return f"{self.stay_s:.{1 if self.stay_s >= 1 else 2}f} s"
        frames = round(self.stay_frames)
        return f"{frames} frame{'s' * (frames != 1)}"

    def record(self) -> dict[str, Any]:
        """Return the attributes, in JSON's types."""
        estimates = {
            "accuracy": _record_of(self.accuracy),
            "accuracy_alone": _record_of(self.accuracy_alone),
        }
        return {**asdict(self), **estimates}


@dataclass(frozen=True)
class FrameResult:
    """One frame after the networks have seen it.

    Attributes:
        truth: name of the frame's true class; None where it is unknown.
        method: label of the method that adapts.
        reading: what the run says, filtered over time.
        raw: the same of this frame alone: the adapted network's, blended with the source's where
            there is a guard.
        filter: the class filter; None: there is none.
        alarm: the share of right answers, 0..1, below which they are estimated to be; None: they
            are not, or nobody asked.
        own: the adapted network's reading, also then.
        source: the source network's; None where it did not run.
        compared: readings of the methods compared with, by label.
        outcome, why: what adaptation did, as a value and in words.
        steps, updates: of the adapter since the source.
        fps: frames per second of the loop before this one; None at the start.
        stages: seconds by stage so far; grows while the outputs take the frame.
    """

    frame: Frame
    truth: str | None
    method: str
    reading: Reading
    raw: Reading
    filter: FilterReport | None
    alarm: float | None
    own: Reading
    source: Reading | None
    compared: Mapping[str, Reading]
    outcome: Outcome
    why: str
    steps: int
    updates: int
    guard: GuardReport | None
    fps: float | None
    stages: Stages

    @property
    def readings(self) -> dict[str, Reading]:
        """Predictions by method label, the run's own last."""
        readings = {**self.compared, self.method: self.raw}
        if self.filter is not None:
            readings[self.method + FILTER] = self.reading
        return readings

    @property
    def wrong(self) -> dict[str, bool]:
        """Return by method whether it is wrong; empty where the frame has no label."""
        label = self.frame.label
        readings = {} if label is None else self.readings
        return {name: reading.index != label for name, reading in readings.items()}

    @cached_property
    def picture(self) -> Pixels:
        """The frame with the results drawn onto it, uint8 (H, W, 3) RGB; drawn when asked for."""
        answer, outcome = self.reading, self.outcome
        source = self.source if answer.pictured else self.compared.get(SOURCE)
        without = answer.pictured and math.isnan(self.raw.entropy)  # boxes have none
        held = outcome.empty or outcome is Outcome.PAUSED
        by_source = self.guard is not None and self.guard.fallen is not None
        learns = outcome.learns and not by_source
        doing = Tone.GOOD if learns else Tone.DOUBTFUL if held else Tone.CALM
        if self.guard is not None and self.guard.harmed:
            doing = Tone.BAD
        elif outcome is Outcome.UNCHANGED:
            doing = Tone.DIM
        info = Overlay(
            label=answer.label,
            confidence=None if answer.legend else answer.confidence,
            entropy=None if without else self.raw.entropy,
            entropy_share=None if without else self.raw.entropy_share,
            fps=self.fps,
            state=self.why,
            tone=doing,
            source_label=None if source is None else source.label,
            source_confidence=None if source is None or answer.legend else source.confidence,
            truth=self.truth,
            condition=self.frame.condition,
            legend=answer.legend,
            stay=None if self.filter is None else self.filter.stay,
            alone=None if self.filter is None else (self.raw.label, self.raw.confidence),
            alarm="" if self.alarm is None else f"accuracy below {100 * self.alarm:g}%",
        )
        pixels = self.frame.pixels
        if answer.pictured:
            pixels = answer.painted(enlarged(pixels), source)
        return draw(pixels, info)
