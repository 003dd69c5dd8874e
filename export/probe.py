"""Memory that a bundle needs: a run in a process of its own, which has no PyTorch.

`peak` is for the parent; the child, `python -m export.probe`, does the measuring and writes one
line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tta.errors import EdgeTTAError

if TYPE_CHECKING:
    from edge_tta.adapter import Adapter

_MARK = "edge-tta-probe: "
_SIDES, _PICTURES = (640, 480), 10


def peak(folder: Path, profile: str, threads: int | None) -> float:
    """Return the peak in bytes of a process that runs a bundle's first method in a guard.

    Raises:
        EdgeTTAError: the process failed; its own last words are in the message.
    """
    done = subprocess.run(
        [sys.executable, "-m", "export.probe", str(folder), profile, str(threads or 0)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            return float(line.removeprefix(_MARK))
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise EdgeTTAError(
        f"what the bundle needs could not be measured: its process ended without a result "
        f"({last[:200]}); free memory, or export without a budget"
    )


def _peak(folder: Path, profile: str, threads: int | None) -> float:
    """Measure in the child: a run over pictures with a guard, every second frame predicted."""
    import edge_tta.cli.run  # noqa: F401  # what a run has in memory besides
    from edge_tta.adapter import Adapter
    from edge_tta.bundle.folder import Bundle
    from edge_tta.engines.onnx import OnnxEngine
    from edge_tta.resident import peak_bytes

    adapter = Adapter(OnnxEngine(Bundle(folder, threads=threads, profile=profile)))
    with tempfile.TemporaryDirectory() as place:
        _write_pictures(Path(place))
        _run(adapter, place)
    return peak_bytes()[0]


def _write_pictures(folder: Path) -> None:
    """Soft noise, as files."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for i in range(_PICTURES):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        picture = cv2.resize(coarse, _SIDES, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{i}.png"), picture)


def _run(adapter: Adapter, source: str) -> None:
    """A run as `edge-tta run` does it, without a screen."""
    from edge_tta.demo.source import DEMO
    from edge_tta.frames import open_source
    from edge_tta.guard import Guard
    from edge_tta.run.loop import Loop
    from edge_tta.run.predictors import Predictors
    from edge_tta.run.schedule import Schedule
    from edge_tta.run.stopping import StopRequest
    from edge_tta.tasks import Classes, Detection, Features, can_be_guarded

    with open_source(source, more=DEMO) as opened:
        classes = Classes(adapter.prepare(adapter.input_spec.shape))
        task, boxes = adapter.task, isinstance(adapter.task, Detection)
        assert task is not None  # it is prepared
        predictors = Predictors(
            adapter,
            classes,
            task=Features() if boxes else task,  # a bundle has nothing to read boxes with
            guard=Guard(adapter) if can_be_guarded(task) and not boxes else None,
            compare=("source",),  # as a guard does where it matters
            schedule=Schedule(2),
        )
        for _ in Loop(opened, predictors, adapter.input_spec).frames(StopRequest()):
            pass


def main() -> None:
    """The child's whole work."""
    folder, profile, threads = sys.argv[1:]
    print(f"{_MARK}{_peak(Path(folder), profile, int(threads) or None)}")


if __name__ == "__main__":
    main()
