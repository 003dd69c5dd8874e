"""The networks that see each frame, every one of them once: adapted, source, compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from edge_tta.adapter import Adapter
from edge_tta.background import Background
from edge_tta.frames.source import Frame
from edge_tta.guard import Guard
from edge_tta.guard.comparison import SOURCE_ANSWERS
from edge_tta.prepare import Images
from edge_tta.run.alarm import Alarm
from edge_tta.run.frame_result import (
    FILTER,
    SOURCE,
    FilterReport,
    FrameResult,
    GuardReport,
    Outcome,
)
from edge_tta.run.schedule import Schedule
from edge_tta.run.timing import Stages
from edge_tta.tasks import Classes, Classification, Reading, Task
from edge_tta.temporal import Filtered


class _Logits(NamedTuple):
    """Outputs of the run's answer, of the adapter, and of the source, where that ran."""

    answer: Any
    own: Any
    source: Any | None


class Predictors:
    """An adapter with its guard, the source network, and methods to compare with.

    Args:
        task: what the outputs mean; None: classification. The filter is for that alone.
        guard: around the adapter; None: the adapter alone.
        by_filter: filters the answers over time; None: they are what each frame says.
        alarm: where the estimated accuracy is too low; needs the filter. None: nobody is told.
        compare: labels of methods that see the same frames, with FILTER behind them where they
            are to be filtered; None: the source, as soon as a frame has a label.
        schedule: which frames are adapted by; the others are only predicted. None: all are.

    Raises ConfigError where a method to compare with cannot be made.

    Attributes:
        method: label of the method that adapts.
        guard, schedule: as given.
        source_wanted: run the source network on the next frame, whatever is compared.
    """

    def __init__(
        self,
        adapter: Adapter,
        classes: Classes,
        *,
        task: Task | None = None,
        guard: Guard | None = None,
        by_filter: Filtered | None = None,
        alarm: Alarm | None = None,
        compare: Sequence[str] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.classes, self.method, self.source_wanted = classes, adapter.config.label, False
        self._adapter, self.guard = adapter, guard
        self.schedule = schedule or Schedule()
        self.task: Task = task or Classification()
        self._filter = by_filter
        self._alarm = alarm
        self._compare_labelled = compare is None and self.method != SOURCE
        self._others: dict[str, Adapter] = {}
        self._compared: dict[str, Filtered | None] = {}
        for name in compare or ():
            self._add(name)

    def _add(self, name: str) -> None:
        """Compare with a method; with FILTER behind its label, filtered."""
        method = name.removesuffix(FILTER)
        other = self._adapter if method == SOURCE else self._adapter.with_method(method)
        label = SOURCE if method == SOURCE else other.config.label
        if label == self.method and (method == name or self._filter is not None):
            return
        if label not in (SOURCE, self.method):
            self._others.setdefault(label, other)
        if method == name:
            self._compared[label] = None
        else:
            self._compared[label + FILTER] = Filtered(other, of_source=label == SOURCE)

    def reset(self) -> None:
        """Return to the source: adapter, guard, and what the filter believes."""
        (self.guard or self._adapter).reset()
        if self._filter is not None:
            self._filter.reset_filter()
        if self._alarm is not None:
            self._alarm.reset()

    def see(
        self, frame: Frame, image: Images, held: Outcome | None, fps: float | None, stages: Stages
    ) -> FrameResult:
        """Return the networks' result on a frame, adapting on the way.

        Args:
            image: the frame (1, channels, H, W), prepared.
            held: why the adapter must not adapt: PAUSED; or an empty picture, which holds for all.
            fps, stages: for the result; times are added.
        """
        adapter, guard, alarm = self._adapter, self.guard, self._alarm
        before = 0 if guard is None else guard.happened
        with stages.timed("adapt"):
            (answer, own, source), outcome = self._adapted(image, held)
        if frame.label is not None and self._compare_labelled:
            self._compare_labelled = False
            for name in (SOURCE, SOURCE + FILTER)[: 1 + (self._filter is not None)]:
                self._add(name)
        with stages.timed("filter") if self._filter is not None else nullcontext():
            filtered = self._filtered(self._filter, image, answer, frame, held)
        compared: dict[str, Any] = {}
        if self._compared or self.source_wanted:
            with stages.timed("compare"):
                source, compared = self._compare(frame, image, held, answer, source)
        if not held:
            took_s = sum(stages.get(stage, 0.0) for stage in ("adapt", "filter", "compare"))
            self.schedule.took(took_s, outcome.adapts)
        report = None if guard is None else GuardReport.of(guard, guard.happened - before)
        over_time = None if self._filter is None else FilterReport.of(self._filter, guard)
        return FrameResult(
            frame=frame,
            truth=None if frame.label is None else self.classes.name(frame.label),
            method=self.method,
            reading=self._read(filtered),
            raw=self._read(answer),
            filter=over_time,
            alarm=None if over_time is None or alarm is None else alarm.below(over_time.accuracy),
            own=self._read(own),
            source=None if source is None else self._read(source),
            compared={name: self._read(logits) for name, logits in compared.items()},
            outcome=outcome,
            why=outcome.value.format(
                steps=adapter.steps,
                updates=adapter.updates,
                position=adapter.position,
                accumulation=adapter.config.optimizer.accumulation,
                every=self.schedule.every,
            )
            if report is None or held or report.fallen is None
            else f"{'fell back to source' if report.harmed else SOURCE_ANSWERS}: {report.fallen}",
            steps=adapter.steps,
            updates=adapter.updates,
            guard=report,
            fps=fps,
            stages=stages,
        )

    def _adapted(self, image: Images, held: Outcome | None) -> tuple[_Logits, Outcome]:
        """Return the logits of an image, adapting unless it is held or not due, and the outcome."""
        adapter, guard, schedule = self._adapter, self.guard, self.schedule
        due = not held and schedule.adapts
        spaced = Outcome.SPACED if schedule.spaced else Outcome.NO_TIME
        if guard is not None:
            answer = guard(image) if due else guard.predict(image)
            logits = _Logits(answer, guard.own, guard.compared)
        else:
            own = adapter(image) if due else adapter.predict(image)
            logits = _Logits(own, own, own if self.method == SOURCE else None)
        return logits, held or (self._outcome() if due else spaced)

    def _compare(
        self,
        frame: Frame,
        image: Images,
        held: Outcome | None,
        answer: Any,
        source: Any | None,
    ) -> tuple[Any | None, dict[str, Any]]:
        """Return the source's logits, where they are wanted, and those compared with, by label."""
        wanted = self.source_wanted or any(name.startswith(SOURCE) for name in self._compared)
        if source is None and wanted:
            source = self._adapter.predict_source(image)
        said = {self.method: answer, SOURCE: source}
        for name, other in self._others.items():
            said[name] = (other.predict if held and held.empty else other)(image)
        compared = {
            name: self._filtered(by_filter, image, said[name.removesuffix(FILTER)], frame, held)
            for name, by_filter in self._compared.items()
        }
        return source, compared

    def _outcome(self) -> Outcome:
        """Return the outcome of adaptation on a frame that was due."""
        if self.method == SOURCE:
            return Outcome.UNCHANGED
        if self.guard is not None and not self.guard.adapts:
            return Outcome.NO_NEWS
        if isinstance(self._adapter, Background):
            return Outcome.BESIDE
        if not self._adapter.config.trains:
            return Outcome.CALIBRATED
        return Outcome.ACCUMULATED if self._adapter.position else Outcome.UPDATED

    def _read(self, outputs: Any) -> Reading:
        return self.task.read(outputs, self.classes)

    def _filtered(
        self,
        by_filter: Filtered | None,
        image: Images,
        logits: Any,
        frame: Frame,
        held: Outcome | None,
    ) -> Any:
        """Return logits filtered, if there is a filter and the picture shows anything."""
        if by_filter is None or (held is not None and held.empty):
            return logits
        blocks = None if self.guard is None else self.guard.blocks
        return by_filter.update(image, logits, frame.time_s, blocks=blocks)
