"""A page to watch and steer the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from edge_tta.frames.source import FrameSource
from edge_tta.resident import resident_bytes
from edge_tta.run.controls import Controls, Wish
from edge_tta.run.frame_result import SOURCE, FrameResult, GuardReport
from edge_tta.run.sinks import Sink
from edge_tta.serve.hub import Hub
from edge_tta.serve.place import Place
from edge_tta.serve.server import PageServer
from edge_tta.tasks import Reading


class PageSink(Sink):
    """A page at a place; `tell` is called with the line that says where."""

    def __init__(self, place: Place, controls: Controls, tell: Callable[[str], None]) -> None:
        self._place, self._controls, self._tell = place, controls, tell
        self._hub = Hub()
        self._events: deque[dict[str, Any]] = deque(maxlen=12)

    def wants_source(self) -> bool:
        return self._hub.watched

    def open(self, source: FrameSource) -> None:
        self._source = source
        self._server = PageServer(self._place, self._hub, self._controls.ask)
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
            "can_save": Wish.SAVE in self._controls.does,
        }
        entropies = own.entropy, None if source is None else source.entropy
        self._hub.publish(result.reading.painted(frame.pixels, source), status, entropies)

    def close(self) -> None:
        self._server.close()

    def _state(self, result: FrameResult) -> str:
        """One of `learning`, `observing`, `waiting`, `paused`, `fell back`, `source`."""
        if result.method == SOURCE:
            return "source"
        if self._controls.paused:
            return "paused"
        if result.guard is not None and result.guard.fallen is not None:
            return "fell back"
        if result.outcome.empty:
            return "waiting"
        return "learning" if result.outcome.learns else "observing"

    def _answer(self, result: FrameResult) -> dict[str, Any] | None:
        """The filtered answer; None without a filter."""
        if result.filter is None:
            return None
        reading = result.reading
        return {
            "label": reading.label,
            "confidence": reading.confidence,
            **result.filter.record(),
        }

    def _of_guard(self, guard: GuardReport) -> dict[str, Any]:
        for event in guard.events:
            told = {"frame": event.frame, "kind": event.kind, "why": event.why}
            self._events.appendleft(told)
        more = {"falls": guard.falls, "source_share": guard.source_share}
        return {**guard.record(), **more, "events": list(self._events)}


def _shown(reading: Reading) -> dict[str, Any]:
    return {"likeliest": reading.likeliest, "entropy": reading.entropy}
