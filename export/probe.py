"""Memory and time that a bundle needs: steps in a process of its own, which has no PyTorch.

`measure` is for the parent; the child, `python -m export.probe`, does the measuring and writes one
line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tta.errors import EdgeTTAError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_tta.adapter import Adapter
    from edge_tta.prepare import Pixels

_MARK = "edge-tta-probe: "
_SIDES, _PICTURES = (640, 480), 10
_WARM_UP, _LEAST_STEPS, _MOST_STEPS, _MOST_S = 2, 5, 100, 0.3


@dataclass(frozen=True)
class Needs:
    """Memory and time of a bundle's first method under one profile, the guard's share included.

    Attributes:
        learn_bytes: peak of the process while it learns on every frame.
        both_bytes: the same where it learns on some frames and observes on the others.
        learn_s, observe_s: time of such a frame.
    """

    learn_bytes: float
    both_bytes: float
    learn_s: float
    observe_s: float


def measure(folder: Path, profile: str, threads: int | None) -> Needs:
    """Needs of a bundle on this machine.

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
            return Needs(**json.loads(line.removeprefix(_MARK)))
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise EdgeTTAError(
        f"what the bundle needs could not be measured: its process ended without a result "
        f"({last[:200]}); free memory, or export without a budget"
    )


def _needs(folder: Path, profile: str, threads: int | None) -> Needs:
    """Measure in the child: a run over pictures with a guard, then single steps."""
    import edge_tta.cli.run  # noqa: F401  # what a run has in memory besides
    from edge_tta.adapter import Adapter
    from edge_tta.bundle.folder import Bundle
    from edge_tta.engines.onnx import OnnxEngine
    from edge_tta.resident import peak_bytes

    adapter = Adapter(OnnxEngine(Bundle(folder, threads=threads, profile=profile)))
    with tempfile.TemporaryDirectory() as place:
        pixels = _write_pictures(Path(place))
        _run(adapter, place, adapt_every=1)
        learn_bytes = peak_bytes()[0]
        _run(adapter, place, adapt_every=2)
    both_bytes = peak_bytes()[0]
    image = adapter.input_spec.prepare(pixels)
    # The guard may run the source on every frame.
    compared_s = _seconds(lambda: adapter.predict_source(image))
    learn_s = _seconds(lambda: adapter(image))
    observe_s = _seconds(lambda: adapter(image, learn=False))
    return Needs(learn_bytes, both_bytes, learn_s + compared_s, observe_s + compared_s)


def _write_pictures(folder: Path) -> Pixels:
    """Soft noise, as files; the last one is returned."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for i in range(_PICTURES):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        picture = cv2.resize(coarse, _SIDES, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return picture.astype(np.uint8)


def _run(adapter: Adapter, source: str, adapt_every: int) -> None:
    """A run as `edge-tta run` does it, without a screen."""
    from edge_tta.demo.source import DEMO
    from edge_tta.frames import open_source
    from edge_tta.guard import Guard
    from edge_tta.run.loop import Loop
    from edge_tta.run.predictors import Predictors
    from edge_tta.run.reading import Classes
    from edge_tta.run.stopping import StopRequest

    with open_source(source, more=DEMO) as opened:
        classes = Classes(adapter.prepare(adapter.input_spec.shape))
        guard = Guard(adapter)
        predictors = Predictors(adapter, classes, guard=guard, adapt_every=adapt_every)
        for _ in Loop(opened, predictors, adapter.input_spec).frames(StopRequest()):
            pass


def _seconds(step: Callable[[], object]) -> float:
    """Median time of a step, warm-ups not counted."""
    times: list[float] = []
    while len(times) < _WARM_UP + _LEAST_STEPS or (
        sum(times) < _MOST_S and len(times) < _MOST_STEPS
    ):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    timed = sorted(times[_WARM_UP:])
    return timed[len(timed) // 2]


def main() -> None:
    """The child's whole work."""
    folder, profile, threads = sys.argv[1:]
    print(_MARK + json.dumps(asdict(_needs(Path(folder), profile, int(threads) or None))))


if __name__ == "__main__":
    main()
