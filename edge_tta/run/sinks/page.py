"""A page to watch and steer the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from edge_tta.frames.source import FrameSource
from edge_tta.guard.comparison import SOURCE_ANSWERS
from edge_tta.resident import resident_bytes
from edge_tta.run.controls import Controls, Done
from edge_tta.run.frame_result import SOURCE, FrameResult, GuardReport
from edge_tta.run.sinks import Sink
from edge_tta.run.sinks.keeper import StateKeeper
from edge_tta.serve.hub import Hub
from edge_tta.serve.place import Place
from edge_tta.serve.server import PageServer
from edge_tta.tasks import Reading
from edge_tta.temporal import Accuracy


class PageSink(Sink):
    """A page at a place; `tell` is called with the line that says where.

    keeper: of the run's state, which the page saves and gives; None: there is none.
    onnx: makes the adapted network of that state as an ONNX file; None: it cannot be made.
    """

    def __init__(
        self,
        place: Place,
        controls: Controls,
        tell: Callable[[str], None],
        keeper: StateKeeper | None = None,
        onnx: Callable[[], bytes] | None = None,
    ) -> None:
        self._onnx = onnx
        self._place, self._controls, self._tell, self._keeper = place, controls, tell, keeper
        self._hub = Hub()
        self._events: deque[dict[str, Any]] = deque(maxlen=12)

    def wants_source(self) -> bool:
        return self._hub.watched

    def open(self, source: FrameSource) -> None:
        self._source = source
        state = None if self._keeper is None else self._keeper.path
        self._server = PageServer(self._place, self._hub, self._controls.ask, state, self._onnx)
        self._tell(f"watch at {self._server.url}")

    def take(self, result: FrameResult) -> None:
        """Publishes the frame and its status, in JSON's types."""
        frame, own, source = result.frame, result.own, result.source
        status = {
            "source": self._source.name,
            "method": result.method,
            "frame": frame.index,
            "name": frame.name,
            "of": self._source.length,
            "condition": frame.condition,
            "truth": result.truth,
            "state": self._state(result),
            "why": result.why,
            "answer": self._answer(result),
            "alarm_below": result.alarm,
            "adapted": _shown(own),
            "source_network": None if source is None else _shown(source),
            "ms": result.stages.ms(),
            "memory_bytes": resident_bytes(),
            "steps": result.steps,
            "updates": result.updates,
            "paused": self._controls.paused,
            "dropped": self._source.dropped.total(),
            "guard": None if result.guard is None else self._of_guard(result.guard),
            "fps": result.fps,
            "saved": self._saved(),
            "done": [self._of_wish(done) for done in list(self._controls.done)],
        }
        shown = result.reading.painted(frame.pixels, source)
        self._hub.publish(shown, status, _values(result))

    def close(self) -> None:
        self._server.close()

    def _state(self, result: FrameResult) -> str:
        """One of learning, observing, predicting, waiting, paused, fell back, source answers,
        source."""
        if result.method == SOURCE:
            return "source"
        if self._controls.paused:
            return "paused"
        guard = result.guard
        if guard is not None and guard.harmed:
            return "fell back"
        if result.outcome.empty:
            return "waiting"
        if guard is not None and guard.fallen is not None:
            return SOURCE_ANSWERS
        if result.outcome.learns:
            return "learning"
        return "observing" if result.outcome.adapts else "predicting"

    def _answer(self, result: FrameResult) -> dict[str, Any] | None:
        """The filtered answer; None without a filter."""
        if result.filter is None:
            return None
        reading, raw = result.reading, result.raw
        return {
            "label": reading.label,
            "confidence": reading.confidence,
            "raw": {"label": raw.label, "confidence": raw.confidence},
            "stay": result.filter.stay,
            **result.filter.record(),
        }

    def _saved(self) -> dict[str, Any] | None:
        """When the state was last saved, why that failed, what it can be had as; None: none is."""
        if self._keeper is None:
            return None
        at_s = self._keeper.saved_s
        when = None if at_s is None else self._hub.time_s(at_s)
        there = self._keeper.resumed or at_s is not None
        told = {"at_s": when, "there": there, "problem": self._keeper.problem}
        return {**told, "onnx": there and self._onnx is not None}

    def _of_wish(self, done: Done) -> dict[str, Any]:
        at_s = self._hub.time_s(done.at_s)
        named = {"number": done.number, "wish": done.wish.value}
        return {**named, "problem": done.problem, "at_s": at_s}

    def _of_guard(self, guard: GuardReport) -> dict[str, Any]:
        for event in guard.events:
            told = {"frame": event.frame, "kind": event.kind, "why": event.why}
            self._events.appendleft({**told, "at_s": self._hub.time_s()})
        more = {
            **{"falls": guard.falls, "source_share": guard.source_share},
            "parts": guard.parts,
        }
        return {**guard.record(), **more, "events": list(self._events)}


def _values(result: FrameResult) -> dict[str, float | None]:
    """Return what the curves are of."""
    filtered, guard = result.filter, result.guard
    return {
        "entropy": result.own.entropy,
        "source_entropy": None if result.source is None else result.source.entropy,
        "answer_accuracy": None if filtered is None else _value(filtered.accuracy),
        "accuracy": None if guard is None else _value(guard.accuracy),
        "source_accuracy": None if guard is None else _value(guard.source_accuracy),
        "source_weight": None if guard is None else guard.weight,
        "fps": result.fps,
    }


def _value(accuracy: Accuracy | None) -> float | None:
    return None if accuracy is None else accuracy.value


def _shown(reading: Reading) -> dict[str, Any]:
    colours = {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in reading.legend}
    return {"likeliest": reading.likeliest, "entropy": reading.entropy, "colours": colours}
