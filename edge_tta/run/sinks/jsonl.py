"""A record a frame, as JSON lines."""

from __future__ import annotations

from typing import Any

from edge_tta.frames.source import FrameSource
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.sinks import Sink
from edge_tta.show import JsonlWriter


class JsonlSink(Sink):
    """JSON lines to a file, or to standard output for "-"; after the sinks whose time it tells."""

    def __init__(self, path: str) -> None:
        self._writer = JsonlWriter(path)

    def open(self, source: FrameSource) -> None:
        self._source = source.name

    def take(self, result: FrameResult) -> None:
        frame, reading = result.frame, result.reading
        record: dict[str, Any] = {
            "source": self._source,
            "frame": frame.index,
            "name": frame.name,
            "time_s": frame.time_s,
            **reading.record(*frame.pixels.shape[:2]),
            "adapted": result.outcome.adapts,
            "why": result.why,
            "step": result.steps,
            "ms": result.stages.ms(),
        }
        if result.filter is not None:
            record["raw"] = result.raw.record(*frame.pixels.shape[:2])
            record["filter"] = result.filter.record()
        if result.alarm is not None:
            record["alarm_below"] = result.alarm
        if result.guard is not None:
            record["guard"] = result.guard.record()
            if result.guard.events:
                events = [{"kind": event.kind, "why": event.why} for event in result.guard.events]
                record["guard"]["events"] = events
        if frame.label is not None:
            record["truth"] = frame.label
        if frame.condition is not None:
            record["condition"] = frame.condition
        if result.compared:
            record["compared"] = {
                name: other.compared(*frame.pixels.shape[:2])
                for name, other in result.compared.items()
            }
        self._writer.write(record)

    def close(self) -> None:
        self._writer.close()
