"""What a page shows of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_tta.executor import Executor
from edge_tta.frames.source import FrameSource
from edge_tta.guard import Guard
from edge_tta.resident import resident_bytes
from edge_tta.run.controls import Controls
from edge_tta.run.reading import Reading, class_name

if TYPE_CHECKING:
    from edge_tta.run.session import Seen

_EVENTS = 12


def status_of(
    seen: Seen,
    source: FrameSource,
    adapter: Executor,
    guard: Guard | None,
    controls: Controls,
    labels: tuple[str, ...] | None,
) -> dict[str, Any]:
    """The latest frame's status, in JSON's types.

    `state` is one of `learning`, `observing`, `paused`, `fell back`, `source`.
    """
    frame = seen.frame
    fallen = guard is not None and guard.fallen is not None
    return {
        "source": source.name,
        "method": adapter.config.label,
        "frame": frame.index,
        "name": frame.name,
        "of": source.length,
        "condition": frame.condition,
        "truth": None if frame.label is None else class_name(frame.label, labels),
        "state": _state(adapter, seen.why, fallen, controls.paused),
        "why": seen.why,
        "adapted": _shown(seen.trial or seen.reading, labels),
        "frozen": None if seen.frozen is None else _shown(seen.frozen, labels),
        "ms": {stage: 1e3 * seconds for stage, seconds in seen.stages.items()},
        "memory_bytes": resident_bytes(),
        "steps": adapter.steps,
        "updates": adapter.updates,
        "paused": controls.paused,
        "dropped": source.dropped.total(),
        "guard": None if guard is None else _of_guard(guard),
    }


def guard_signs(guard: Guard) -> dict[str, Any]:
    """Whether the source predicts, why, and the signs that it is judged by."""
    found: dict[str, Any] = {"fell_back": guard.fallen is not None}
    if guard.fallen is not None:
        found["why"] = guard.fallen
    judge = guard.judge
    if judge is not None:
        own, source = judge.entropies
        found |= {
            "agreement": judge.agreement,
            "entropy": own,
            "source_entropy": source,
            "one_class": judge.share,
            "drift": judge.drift,
        }
    return found


def _of_guard(guard: Guard) -> dict[str, Any]:
    latest = guard.latest(_EVENTS)
    return {
        **guard_signs(guard),
        "falls": guard.falls,
        "source_share": guard.source_frames / max(guard.frames, 1),
        "events": [{"frame": e.frame, "kind": e.kind, "why": e.why} for e in reversed(latest)],
    }


def _state(adapter: Executor, why: str, fallen: bool, paused: bool) -> str:
    if adapter.config.method == "source":
        return "source"
    if paused:
        return "paused"
    if fallen:
        return "fell back"
    learns = why.startswith(("updated", "accumulating"))
    return "learning" if learns else "observing"


def _shown(reading: Reading, labels: tuple[str, ...] | None) -> dict[str, Any]:
    return {
        "likeliest": [[class_name(index, labels), p] for index, p in reading.likeliest],
        "entropy": reading.entropy,
    }
