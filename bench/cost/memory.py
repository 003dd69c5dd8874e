"""Memory of a case, measured in a process of its own, never one that measures time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.cost.case import Case
from bench.cost.process import Worker

HOW = {
    "import_bytes": "resident set after the imports, before the network",
    "loaded_bytes": "resident set when the network is loaded and captured, and the heap trimmed",
    "load_peak_bytes": "peak of the resident set up to then",
    "process_peak_bytes": "peak of the resident set while frames are adapted to, imports included",
    "above_import_bytes": "process_peak_bytes less import_bytes",
    "saved_bytes": "activations saved for the backward pass of one learning step, shared storages "
    "once, weights and state not counted (saved_tensors_hooks, and what custom functions keep as "
    "attributes; the latter not where a peer's forward and backward pass cannot be told apart)",
    "state_bytes": "tensors of the adaptation's state, or of a peer's parameters and optimizer",
    "weight_bytes": "the network's weights and statistics",
    "cuda_allocated_bytes": "torch.cuda.max_memory_allocated while frames are adapted to",
    "cuda_reserved_bytes": "torch.cuda.max_memory_reserved while frames are adapted to",
    "shared_drop_bytes": "fall of MemAvailable from before the network to the least seen between "
    "frames: what a Jetson's processor and GPU share; other processes disturb it",
}


def measure_memory(
    case: Case, model: Mapping[str, Any], *, frames: int = 24, source: str | None = None
) -> dict[str, Any]:
    """Figures of a row of `bench memory`, and the seconds from the start of the process to its
    first prediction.

    Args:
        model: see `Worker`.
        frames: that are adapted to, from 1; the optimizer steps within 16 of them.

    Raises:
        MeasureError: the process failed; its own last words are in the message.
    """
    with Worker(case, model, source) as worker:
        worker.load(case)
        answer = worker.ask("memory", frames=frames)
    figures: dict[str, Any] = answer["figures"]
    how = {name: HOW[name] for name in figures}
    how["process_peak_bytes"] += f"; {answer['peak_how']}"
    start_s = answer["first_s"] - worker.began_s
    return {**case.head, "n": frames, **figures, "start_s": start_s, "how": how}
