"""Memory of a case, measured in a process of its own.

The parent calls `measure_memory`; the child, `python -m bench.cost.memory`, does the measuring and
writes one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_tta import heap
from edge_tta.errors import EdgeTTAError
from edge_tta.resident import available_bytes, peak_bytes, reset_peak, resident_bytes

if TYPE_CHECKING:
    from bench.cost.case import Case

_MARK = "edge-tta-memory: "

HOW = {
    "import_bytes": "resident set after the imports, before the network",
    "loaded_bytes": "resident set when the network is loaded and captured, and the heap trimmed",
    "load_peak_bytes": "peak of the resident set up to then",
    "process_peak_bytes": "peak of the resident set while frames are adapted to, imports included",
    "above_import_bytes": "process_peak_bytes less import_bytes",
    "saved_bytes": "tensors that wait for the backward pass of one learning step, shared storages "
    "once, weights and state not counted (saved_tensors_hooks, and what custom functions keep as "
    "attributes; the latter not where a peer's forward and backward pass cannot be told apart)",
    "state_bytes": "tensors of the adaptation's state, or of a peer's parameters and optimizer",
    "weight_bytes": "the network's weights and statistics",
    "cuda_allocated_bytes": "torch.cuda.max_memory_allocated while frames are adapted to",
    "cuda_reserved_bytes": "torch.cuda.max_memory_reserved while frames are adapted to",
    "shared_drop_bytes": "fall of MemAvailable from before the network to the least seen between "
    "frames: what a Jetson's processor and GPU share; other processes disturb it",
}


class MeasureError(EdgeTTAError):
    """A case that could not be measured."""


def measure_memory(
    case: Case, model: dict[str, Any], *, frames: int = 24, source: str | None = None
) -> dict[str, Any]:
    """A row of `bench memory`.

    Args:
        model: the command line's options of the network, by name.
        frames: that are adapted to, from 1; the optimizer steps within 16 of them.

    Raises:
        MeasureError: the process failed; its own last words are in the message.
    """
    order = {"case": case.as_dict(), "model": model, "frames": frames, "source": source}
    done = subprocess.run(
        [sys.executable, "-m", "bench.cost.memory"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            if "failed" in found:
                raise MeasureError(f"{case.label}: {found['failed']}")
            return {**case.head, **found}
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise MeasureError(
        f"{case.label}: the measuring process ended without a result ({last[:200]}); expected "
        "enough free memory and a network that runs"
    )


def _measured(order: dict[str, Any]) -> dict[str, Any]:
    """In the child: imports, load, frames, one counted step."""
    import argparse

    import torch

    from bench.cost.case import Case
    from bench.cost.frames import frames_of
    from bench.cost.subjects import addresses, distinct_bytes, load_model_of, make_subject
    from edge_tta.network.saved import node_tensors, saved_bytes

    imported, available = resident_bytes(), available_bytes()
    case = Case(**order["case"])
    heap.keep()
    if case.threads is not None:
        torch.set_num_threads(case.threads)
    on_cuda = case.device.startswith("cuda")
    model = load_model_of(argparse.Namespace(**order["model"]))
    subject = make_subject(case, model)
    model.module.cpu()
    frames = frames_of(order["source"])
    heap.trim()
    loaded, (load_peak, _) = resident_bytes(), peak_bytes()
    can_reset = reset_peak()
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    least = available
    for _ in range(order["frames"]):
        subject.frame(model.input.prepare(next(frames)))
        now = available_bytes()
        least = now if least is None or now is None else min(least, now)
    peak, how = peak_bytes()
    figures: dict[str, Any] = {
        "n": order["frames"],
        "import_bytes": imported,
        "loaded_bytes": loaded,
        "load_peak_bytes": load_peak,
        "process_peak_bytes": peak,
        "above_import_bytes": None if imported is None else peak - imported,
    }
    if on_cuda:
        figures["cuda_allocated_bytes"] = torch.cuda.max_memory_allocated()
        figures["cuda_reserved_bytes"] = torch.cuda.max_memory_reserved()
    if available is not None and least is not None:
        figures["shared_drop_bytes"] = max(0, available - least)
    image = model.input.prepare(next(frames))
    held = subject.held()
    there = addresses([*held["weight"], *held["state"]])
    attributes: list[Any] = []
    subject.listen(lambda stage: attributes.extend(node_tensors() if stage == "forward" else ()))
    figures["saved_bytes"] = saved_bytes(lambda: subject.frame(image), there, attributes)
    figures["state_bytes"] = distinct_bytes(held["state"])
    figures["weight_bytes"] = distinct_bytes(held["weight"])
    told = {name: HOW[name] for name in figures if name in HOW}
    since = "reset through /proc/self/clear_refs" if can_reset else "not reset: since the start"
    told["process_peak_bytes"] += f"; {how}, {since}"
    return {"model": Path(model.name).name, **figures, "how": told}


def main() -> None:
    """The child's whole work."""
    order = json.load(sys.stdin)
    try:
        found = _measured(order)
    except EdgeTTAError as error:
        found = {"failed": " ".join(str(error).split())}
    print(_MARK + json.dumps(found))


if __name__ == "__main__":
    main()
