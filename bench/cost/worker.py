"""The process that measures: `python -m bench.cost.worker`, see `bench.cost.process.Worker`.

It reads an order a line and answers each by a line of JSON. It imports PyTorch only where a case
runs on PyTorch, so that the memory of a bundle is that of a device without it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from bench.cost.case import Case
from bench.cost.frames import frames_of
from bench.cost.latency import Clock, Timing, wait_of
from bench.cost.subjects import Maker, Subject
from edge_tta.errors import EdgeTTAError
from edge_tta.prepare import InputSpec, Pixels
from edge_tta.resident import available_bytes, peak_bytes, reset_peak, resident_bytes


class Bench:
    """Cases of one backend, device and number of threads; each method is an order."""

    def __init__(
        self, backend: str, model: Mapping[str, Any], threads: int | None, source: str | None
    ) -> None:
        module = importlib.import_module(f"bench.cost.{backend}_subjects")
        module.load_runtime()
        self._imported, self._available = resident_bytes(), available_bytes()
        self._maker: Maker = module.Maker(model, threads)
        self._source = source
        self._loaded: list[Loaded] = []

    def load(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a case's subject; cases are numbered from 0."""
        made = Case.from_dict(case)
        loaded = Loaded(made, self._maker.make(made), self._maker.spec, frames_of(self._source))
        self._loaded.append(loaded)
        return {}

    def turn(self, index: int, frames: int, uncounted: int, fps: float | None) -> dict[str, Any]:
        """Times frames of a case, after some that do not count. fps: None: without a pause."""
        return asdict(self._loaded[index].turn(frames, uncounted, fps))

    def memory(self, frames: int) -> dict[str, Any]:
        """Figures of the only case, by the names of `bench.cost.memory.HOW`; how the peak is known;
        the time of the first prediction by `time.monotonic`.
        """
        (only,) = self._loaded
        loaded, (load_peak, _) = resident_bytes(), peak_bytes()
        since = "reset through /proc/self/clear_refs" if reset_peak() else "not reset: since start"
        cuda: Any = None
        if only.case.device.startswith("cuda"):
            cuda = importlib.import_module("torch").cuda
            cuda.reset_peak_memory_stats()
        least, first_s = self._available, 0.0
        for _ in range(frames):
            only.frame()
            first_s = first_s or time.monotonic()
            only.subject.learned()  # so that what goes on beside is in the peak
            now = available_bytes()
            least = now if least is None or now is None else min(least, now)
        peak, how = peak_bytes()
        figures: dict[str, Any] = {
            "import_bytes": self._imported,
            "loaded_bytes": loaded,
            "load_peak_bytes": load_peak,
            "process_peak_bytes": peak,
            "above_import_bytes": None if self._imported is None else peak - self._imported,
        }
        if cuda is not None:
            figures["cuda_allocated_bytes"] = cuda.max_memory_allocated()
            figures["cuda_reserved_bytes"] = cuda.max_memory_reserved()
        if self._available is not None and least is not None:
            figures["shared_drop_bytes"] = max(0, self._available - least)
        figures |= only.subject.sizes(only.image())
        return {"figures": figures, "peak_how": f"{how}, {since}", "first_s": first_s}


class Loaded:
    """A case that is ready to run, and the frames that it sees."""

    def __init__(
        self, case: Case, subject: Subject, spec: InputSpec, frames: Iterator[Pixels]
    ) -> None:
        self.case, self.subject = case, subject
        self._spec, self._frames = spec, frames
        self._clock = Clock(wait_of(case.device))

    def image(self) -> Any:
        """The next frame, as the network takes it."""
        return self._spec.prepare(next(self._frames))

    def frame(self) -> None:
        """Runs the next frame."""
        self.subject.frame(self.image())

    def turn(self, frames: int, uncounted: int, fps: float | None = None) -> Timing:
        """Times of `frames` frames, after `uncounted` ones; they come at `fps`, or at once."""
        if self.case.device == "cpu":
            # On CUDA each look at the clock waits for the device, and a step with a listener runs
            # kernel by kernel.
            self.subject.listen(self._clock)
        timing, before, began = Timing(), self.subject.learned(), time.perf_counter()
        for k in range(uncounted + frames):
            if fps is not None:
                time.sleep(max(0.0, began + k / fps - time.perf_counter()))
            self._timed(timing if k >= uncounted else Timing())
        timing.seconds = time.perf_counter() - began
        timing.learned = self.subject.learned() - before
        return timing

    def _timed(self, timing: Timing) -> None:
        clock = self._clock
        clock.start()
        began, used = time.perf_counter(), time.process_time()
        pixels = next(self._frames)
        clock("read")
        image = self._spec.prepare(pixels)
        clock("prepare")
        self.subject.frame(image)
        clock("rest")
        timing.wall.append(time.perf_counter() - began)
        timing.processor.append(time.process_time() - used)
        for name, seconds in clock.stages.items():
            timing.stages.setdefault(name, []).append(seconds)


def main() -> None:
    """Answers until the orders end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a network prints is no answer
    bench: Bench | None = None
    for line in sys.stdin:
        order = json.loads(line)
        name = order.pop("order")
        answer: dict[str, Any] = {}
        try:
            if bench is None:
                bench = Bench(**order)
            else:
                answer = getattr(bench, name)(**order)
        except EdgeTTAError as error:
            answer = {"failed": " ".join(str(error).split())}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
