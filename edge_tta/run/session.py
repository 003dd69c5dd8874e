"""The loop: read, prepare, adapt and predict, compare, show, record. One frame at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_tta.errors import ConfigError, SourceError
from edge_tta.executor import Executor
from edge_tta.frames.faults import empty_picture, not_a_picture
from edge_tta.frames.source import Frame, FrameSource, Pixels
from edge_tta.guard import Event, Guard
from edge_tta.guard.running import as_array
from edge_tta.prepare import Images, InputSpec
from edge_tta.run.controls import Controls
from edge_tta.run.curve import ErrorCurve
from edge_tta.run.keeper import StateKeeper
from edge_tta.run.reading import Reading, class_name, read_logits
from edge_tta.run.status import guard_signs, status_of
from edge_tta.run.stopping import Stopped, StopRequest
from edge_tta.run.tally import Errors, Mean, Tally
from edge_tta.serve.hub import Hub
from edge_tta.show import JsonlWriter, Overlay, VideoRecorder, Window, draw

FROZEN = "source"


@dataclass
class Outputs:
    """Where a run shows and records; each may be absent."""

    window: Window | None = None
    video: VideoRecorder | None = None
    jsonl: JsonlWriter | None = None
    keeper: StateKeeper | None = None
    page: Hub | None = None
    curve: ErrorCurve | None = None


@dataclass
class Seen:
    """One frame after the network has seen it.

    Attributes:
        adapted: whether statistics or parameters changed.
        why: what adaptation did, or why it did nothing.
        others: readings of the compared methods, by label.
        stages: seconds by stage.
        events: what the guard did at this frame.
        frozen: the source network's reading, where it ran.
        trial: the adapter's own, where it is on trial and the source's is `reading`.
    """

    frame: Frame
    reading: Reading
    adapted: bool
    why: str
    others: dict[str, Reading]
    stages: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    frozen: Reading | None = None
    trial: Reading | None = None


class Session:
    """A run of one adapter, and of others beside it for comparison, over one source.

    Args:
        classes: number of the network's outputs.
        adapt_every: learn on every so many frames, from 1; on the others only statistics are
            calibrated. Counted in the adapter's steps, so that a resumed run keeps the rhythm.
        compare: adapters that see the same frames, by label. "auto" in place of a mapping:
            the source network, as soon as a frame has a label.
        guard: around the adapter; None: the adapter alone.
        controls: what may be asked of the run while it goes on.
    """

    def __init__(
        self,
        source: FrameSource,
        adapter: Executor,
        spec: InputSpec,
        labels: tuple[str, ...] | None,
        outputs: Outputs,
        *,
        classes: int,
        adapt_every: int = 1,
        compare: Sequence[Executor] | None = None,
        guard: Guard | None = None,
        controls: Controls | None = None,
    ) -> None:
        self._source, self._adapter, self._spec, self._labels = source, adapter, spec, labels
        self._outputs, self._adapt_every = outputs, adapt_every
        self._guard, self._controls = guard, controls or Controls()
        self._compare: dict[str, Executor] = {a.config.label: a for a in compare or ()}
        self._compare_labelled = compare is None and adapter.config.method != FROZEN
        self._classes = classes
        self.tally = Tally()
        self._rate = _Rate()

    @property
    def compared(self) -> tuple[str, ...]:
        """Labels of the methods beside the adapted one."""
        return tuple(self._compare)

    def frames(self, stop: StopRequest) -> Iterator[Seen]:
        """Runs, giving each frame when it has been dealt with, until the end, q, or `stop`.

        The state is saved at the end, however it comes.

        Raises:
            SourceError: the source fails; OutputError: a file cannot be written.
        """
        try:
            while not stop:
                started = time.perf_counter()
                frame = self._read(stop)
                if frame is None:
                    return
                stages = {"read": time.perf_counter() - started}
                seen = self._see(frame, stages)
                goes_on = self._present(seen, stages)
                self._rate.tick()
                yield seen
                if not goes_on:
                    return
        finally:
            if self._outputs.keeper is not None:
                self._outputs.keeper.save()

    def _read(self, stop: StopRequest) -> Frame | None:
        """The next frame that is a picture; None at the end. Others are counted and left out."""
        while True:
            try:
                with stop.wait():
                    frame = self._source.read()
            except Stopped:
                return None
            why = None if frame is None else not_a_picture(frame.pixels)
            if why is None:
                return frame
            self._source.dropped[why] += 1
            if stop:
                return None

    def _see(self, frame: Frame, stages: dict[str, float]) -> Seen:
        self._check_label(frame)
        self._grant()
        with _timed(stages, "prepare"):
            image = self._spec.prepare(frame.pixels)
        nothing = empty_picture(frame.pixels)
        with _timed(stages, "adapt"):
            learns = None if nothing else self._adapter.steps % self._adapt_every == 0
            reading, events = self._predicted(image, learns)
        adapted, why = self._what_happened(learns)
        if nothing is not None:
            adapted, why = False, f"{nothing} picture: nothing to learn from"
            self.tally.not_learned[nothing] += 1
        if self._compare_labelled and frame.label is not None and FROZEN not in self._compare:
            self._compare_source()
        others: dict[str, Reading] = {}
        if self._compare:
            with _timed(stages, "compare"):
                others = {name: self._beside(name, image, learns) for name in self._compare}
        seen = Seen(frame, reading, adapted, why, others, stages, events, others.get(FROZEN))
        if self._outputs.page is not None:
            self._add_for_page(seen, image, self._outputs.page)
        self._count(seen)
        return seen

    def _compare_source(self) -> None:
        """Runs the source beside, where the adapter has it: a bundle may not."""
        try:
            self._compare = {FROZEN: self._adapter.beside(FROZEN), **self._compare}
        except ConfigError:
            self._compare_labelled = False

    def _grant(self) -> None:
        """Does what was asked for meanwhile."""
        for wish in self._controls.granted():
            if wish == "reset":
                (self._guard or self._adapter).reset()
            elif wish == "save" and self._outputs.keeper is not None:
                self._outputs.keeper.try_to_save()

    def _predicted(self, image: Images, learns: bool | None) -> tuple[Reading, list[Event]]:
        """What the run says of a frame, adapting on the way, and what the guard did.

        learns: None leaves the state as it is.
        """
        adapter, guard = self._adapter, self._guard
        if self._controls.paused or learns is None:
            return _read((guard or adapter).frozen_logits(image)), []
        if guard is None:
            return _read(adapter(image, learn=learns)), []
        before = guard.happened
        reading = _read(guard(image, learn=learns))
        return reading, guard.latest(guard.happened - before)

    def _add_for_page(self, seen: Seen, image: Images, page: Hub) -> None:
        """What somebody wants to see beside: the source, and the adapter on trial."""
        guard = None if self._controls.paused else self._guard
        if guard is not None and guard.fallen is not None:
            seen.trial = _read(guard.own)
        if seen.frozen is None and guard is not None and guard.compared is not None:
            seen.frozen = _read(guard.compared)
        elif seen.frozen is None and page.watched:
            seen.frozen = _read(self._adapter.source_logits(image))

    def _beside(self, name: str, image: Images, learns: bool | None) -> Reading:
        """What a compared method says of a frame. learns: None leaves its state as it is."""
        guard = self._guard
        if learns is None:
            return _read(self._compare[name].frozen_logits(image))
        if name == FROZEN and guard is not None and not self._controls.paused:
            found = guard.compared
            if found is not None:
                return _read(found)
        return _read(self._compare[name](image))

    def _check_label(self, frame: Frame) -> None:
        classes = self._classes
        if frame.label is not None and not 0 <= frame.label < classes:
            raise SourceError(
                f"{frame.name} has the label {frame.label} and the network has {classes} classes "
                f"(0 to {classes - 1}); correct or remove the labels, or give the network of them"
            )

    def _what_happened(self, learned: bool | None) -> tuple[bool, str]:
        adapter = self._adapter
        config = adapter.config
        if config.method == FROZEN:
            return False, "method source changes nothing"
        if self._controls.paused:
            return False, "paused"
        if self._guard is not None and self._guard.fallen is not None:
            return False, f"fell back to source: {self._guard.fallen}"
        if not config.trains:
            return True, "calibrated"
        if not learned:
            return True, f"calibrated; learns every {self._adapt_every} frames"
        if adapter.position == 0:
            return True, f"updated, {adapter.updates} update{'s' if adapter.updates != 1 else ''}"
        return True, f"accumulating {adapter.position}/{config.accumulation}"

    def _count(self, seen: Seen) -> None:
        tally = self.tally
        readings = {**seen.others, self._adapter.config.label: seen.reading}
        tally.frames += 1
        for event in seen.events:
            tally.guarded[event.kind] += 1
            tally.last_harm = event.why if event.kind == "fell back" else tally.last_harm
        if self._guard is not None:
            tally.fallen += self._guard.fallen is not None
            tally.source_share = self._guard.source_frames / max(self._guard.frames, 1)
        for name, reading in readings.items():
            tally.predicted.setdefault(name, Counter())[reading.index] += 1
            tally.entropies.setdefault(name, Mean()).add(reading.entropy)
        truth = seen.frame.label
        if truth is None:
            return
        tally.labelled += 1
        wrong = {name: reading.index != truth for name, reading in readings.items()}
        for name, is_wrong in wrong.items():
            tally.errors.setdefault(name, Errors()).add(is_wrong, seen.frame.condition)
        if self._outputs.curve is not None:
            self._outputs.curve.add(seen.frame.condition, wrong)

    def _present(self, seen: Seen, stages: dict[str, float]) -> bool:
        """Shows and records; False when the user closed the window."""
        outputs = self._outputs
        goes_on = True
        if outputs.window is not None or outputs.video is not None:
            with _timed(stages, "show"):
                picture = self._drawn(seen)
                if outputs.video is not None:
                    outputs.video.write(picture)
                if outputs.window is not None:
                    goes_on = outputs.window.show(picture)
        if outputs.keeper is not None:
            with _timed(stages, "save"):
                outputs.keeper.save_if_due()
        if outputs.page is not None:
            frozen = None if seen.frozen is None else seen.frozen.entropy
            status = status_of(
                seen, self._source, self._adapter, self._guard, self._controls, self._labels
            )
            status |= {"fps": self._rate.fps, "can_save": outputs.keeper is not None}
            own = seen.trial or seen.reading
            outputs.page.publish(seen.frame.pixels, status, (own.entropy, frozen))
        self.tally.time(stages)
        if outputs.jsonl is not None:
            outputs.jsonl.write(self._record(seen))
        return goes_on

    def _drawn(self, seen: Seen) -> Pixels:
        frozen = seen.others.get(FROZEN)
        truth = seen.frame.label
        return draw(
            seen.frame.pixels,
            Overlay(
                label=self._name(seen.reading.index),
                confidence=seen.reading.confidence,
                entropy=seen.reading.entropy,
                entropy_share=seen.reading.entropy_share,
                fps=self._rate.fps,
                state=seen.why,
                frozen_label=None if frozen is None else self._name(frozen.index),
                frozen_confidence=None if frozen is None else frozen.confidence,
                truth=None if truth is None else self._name(truth),
                condition=seen.frame.condition,
            ),
        )

    def _record(self, seen: Seen) -> dict[str, Any]:
        frame, reading = seen.frame, seen.reading
        record: dict[str, Any] = {
            "source": self._source.name,
            "frame": frame.index,
            "name": frame.name,
            "time_s": frame.time_s,
            "prediction": reading.index,
            "label": self._name(reading.index),
            "confidence": reading.confidence,
            "entropy": reading.entropy,
            "adapted": seen.adapted,
            "why": seen.why,
            "step": self._adapter.steps,
            "ms": {stage: 1e3 * seconds for stage, seconds in seen.stages.items()},
        }
        if self._guard is not None:
            record["guard"] = guard_signs(self._guard)
            if seen.events:
                record["guard"]["events"] = [{"kind": e.kind, "why": e.why} for e in seen.events]
        if frame.label is not None:
            record["truth"] = frame.label
        if frame.condition is not None:
            record["condition"] = frame.condition
        if seen.others:
            record["compared"] = {
                name: {"prediction": other.index, "confidence": other.confidence}
                for name, other in seen.others.items()
            }
        return record

    def _name(self, index: int) -> str:
        return class_name(index, self._labels)


class _Rate:
    """Frames per second, smoothed over about a second."""

    def __init__(self) -> None:
        self.fps: float | None = None
        self._last_s: float | None = None

    def tick(self) -> None:
        now_s = time.monotonic()
        if self._last_s is not None and now_s > self._last_s:
            seconds = now_s - self._last_s
            share = min(1.0, max(0.05, seconds))
            rate = 1 / seconds
            self.fps = rate if self.fps is None else (1 - share) * self.fps + share * rate
        self._last_s = now_s


def _read(logits: Any) -> Reading:
    return read_logits(as_array(logits)[0])


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - started
