"""Processes that measure cases, each fresh."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bench.cost.case import Case
from bench.cost.latency import Timing, Turn
from edge_tta.errors import EdgeTTAError

OnFailure = Callable[[EdgeTTAError], None]


class MeasureError(EdgeTTAError):
    """A case that could not be measured."""


class Worker:
    """A process with cases of one backend, device and number of threads.

    Args:
        like: any of the cases.
        model: the command line's options of the network, by name; for bundles its `input` too.
        source: of frames, as of `edge-tta run`; None: drawn ones.

    Raises:
        MeasureError: here and in all methods, where the process cannot do it; its own last words
            are in the message.
    """

    def __init__(self, like: Case, model: Mapping[str, Any], source: str | None = None) -> None:
        self._label = like.label
        self.began_s = time.monotonic()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.cost.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        with contextlib.ExitStack() as undone:
            undone.push(self)
            setup = {"backend": like.backend, "threads": like.threads, "source": source}
            self.ask("begin", **setup, model=dict(model))
            undone.pop_all()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        if exception is not None:
            self._process.terminate()  # a turn may take minutes
        self.close()

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._errors.close()

    def load(self, case: Case) -> None:
        """Makes what the case runs."""
        self._label = case.label
        self.ask("load", case=case.as_dict())

    def turn(self, index: int, fps: float | None, frames: int, uncounted: int) -> Timing:
        """Times frames of the case that was loaded so many cases after the first.

        fps: at which they come; None: without a pause.
        """
        given = {"index": index, "frames": frames, "uncounted": uncounted, "fps": fps}
        return Timing(**self.ask("turn", **given))

    def ask(self, order: str, **arguments: Any) -> dict[str, Any]:
        """The answer to an order of `bench.cost.worker.Bench`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"order": order, **arguments}) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise MeasureError(
                f"{self._label}: the measuring process ended without a result "
                f"({self._last_words()}); expected enough free memory and a network that runs"
            )
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise MeasureError(f"{self._label}: {answer['failed']}")
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"exit code {code}"


@contextlib.contextmanager
def ready(
    cases: Sequence[Case],
    model: Mapping[str, Any],
    source: str | None,
    on_failure: OnFailure,
    fps: float | None = None,
) -> Iterator[list[tuple[Case, Turn]]]:
    """Cases of one device and number of threads, each with how it takes a turn.

    Those on PyTorch share a process, and the fixed weights there. A graph of a bundle has its own:
    its profile is that of the whole process.

    fps: at which frames come; None: without a pause.
    on_failure: called for each case that cannot run, which is left out.
    """
    with contextlib.ExitStack() as stack:
        turns: list[tuple[Case, Turn]] = []
        shared: Worker | None = None
        count = 0
        for case in cases:
            try:
                if case.backend == "onnx":
                    own = stack.enter_context(Worker(case, model, source))
                    own.load(case)
                    turns.append((case, partial(own.turn, 0, fps)))
                    continue
                shared = shared or stack.enter_context(Worker(case, model, source))
                shared.load(case)
                turns.append((case, partial(shared.turn, count, fps)))
                count += 1
            except MeasureError as error:
                on_failure(error)
        yield turns
