"""Steps on CUDA, recorded as graphs: a step is launched whole, and no longer kernel by kernel.

A step reads images and state and has no branch on data, so what it launches is the same on every
frame of a shape. When a shape comes the second time, the step is recorded, over copies of images
and state that stay where they are (PyTorch's `torch.cuda.CUDAGraph`). It is recorded on other
values than the frame's, and serves only if on the frame it gives what the step itself gives.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edge_tta import nest
from edge_tta.method.batches import Outputs
from edge_tta.method.stages import no_stage
from edge_tta.method.state import State
from edge_tta.method.step import Step

_log = logging.getLogger(__name__)

WARM_UPS = 2
"""Runs before a recording, in which libraries choose their kernels and take their memory."""
MOST = 12
"""Shapes that are known, of all functions; the one that was not seen for longest goes."""
ATTEMPTS = 3
"""Recordings of a shape that may fail; a single one can, where rounding decides what counts."""
TOLERANCE = 0.05
"""Distance from the step itself that is let pass: of outputs, and of the change of a state."""

Run = Callable[[], Any]
Record = Callable[[Run], tuple[Any, Callable[[], None]]]
"""Returns the results of a run, and what computes them again in the same place."""

_one_at_a_time = threading.Lock()


class RecordedStep:
    """`Step` with the same functions and results, each recorded for each shape of its images.

    While the step has a listener to its stages, it runs unrecorded.

    Args:
        step: made with `traced`, since nothing may wait for the device.
        record: None: as CUDA graphs.
    """

    def __init__(self, step: Step, record: Record | None = None) -> None:
        self._step, self._record = step, record or cuda_recorder(step.program.device)
        self._known: dict[Any, _Known] = {}
        self._refused = False

    def predict(self, images: Tensor, state: State) -> Outputs:
        """Return outputs; see `Step.predict`."""
        outputs, _ = self._run("predict", images, state)
        return outputs

    def observe(self, images: Tensor, state: State) -> tuple[Outputs, State]:
        """Return outputs and new state; see `Step.observe`."""
        return self._run("observe", images, state)

    def learn(self, images: Tensor, state: State, *, views: int = 1) -> tuple[Outputs, State]:
        """Return outputs and new state; see `Step.learn`."""
        return self._run("learn", images, state, views)

    def _run(
        self, name: str, images: Tensor, state: State, views: int = 1
    ) -> tuple[Outputs, State]:
        if self._refused or self._step.on_stage is not no_stage:
            return self._unrecorded(name, images, state, views)
        shapes = sorted((key, value.shape) for key, value in state.items())
        key = (name, views, images.shape, *shapes, _autocast())
        known = self._known[key] = self._known.pop(key, _Known())
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        if known.recording is not None:
            return known.recording(images, state)
        results = self._unrecorded(name, images, state, views)
        known.seen += 1
        if 1 < known.seen <= 1 + ATTEMPTS:
            known.recording = self._recorded(name, images, state, views, results)
        return results

    def _unrecorded(
        self, name: str, images: Tensor, state: State, views: int
    ) -> tuple[Outputs, State]:
        if name == "predict":
            return self._step.predict(images, state), {}
        if name == "observe":
            return self._step.observe(images, state)
        return self._step.learn(images, state, views=views)

    def _recorded(
        self, name: str, images: Tensor, state: State, views: int, results: tuple[Outputs, State]
    ) -> _Recording | None:
        """Return a recording, if there can be one and it gives the results."""
        held, held_state = 0.5 - 0.9 * images.flip(-1), nest.mapped(_other, state)
        with _one_at_a_time:
            try:
                outputs, again = self._record(
                    lambda: self._unrecorded(name, held, held_state, views)
                )
                recording = _Recording(held, held_state, outputs, again)
                if _agree(recording(images, state), results, state):
                    return recording
                problem = "it gives other results than the step itself"
            except RuntimeError as error:
                # PyTorch may be left in a state in which no other recording can be made.
                self._refused, problem = True, str(error).partition("\n")[0]
        more = "no more CUDA graphs" if self._refused else "no CUDA graph"
        _log.warning("%s (%s), so a frame takes longer: %s", more, name, problem)
        return None


class _Recording(NamedTuple):
    """What a recording reads, what it writes, and how to launch it."""

    images: Tensor
    state: State
    results: tuple[Outputs, State]
    again: Callable[[], None]

    def __call__(self, images: Tensor, state: State) -> tuple[Outputs, State]:
        held = list(self.state.values())
        self.images.copy_(images)
        torch._foreach_copy_(held, [state[name] for name in self.state])
        self.again()
        outputs, new = self.results
        # What a step leaves as it was is the tensor that was given, as without a recording.
        given = {id(value): state[name] for name, value in self.state.items()}
        return nest.mapped(torch.clone, outputs), {
            name: given[id(value)] if id(value) in given else value.clone()
            for name, value in new.items()
        }


class _Known:
    """How often a shape was seen unrecorded, and its recording."""

    def __init__(self) -> None:
        self.seen = 0
        self.recording: _Recording | None = None


def cuda_recorder(device: torch.device) -> Record:
    """Return what records runs on a device; its recordings share memory."""
    pool = torch.cuda.graph_pool_handle()

    def record(run: Run) -> tuple[Any, Callable[[], None]]:
        # A stream of its own: with a graph goes what libraries hold for the stream it was made on.
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device), _uncached_autocast():
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    run()
                torch.cuda.synchronize()
                # Another thread may go on meanwhile, but for other recordings.
                graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    results = run()
                except BaseException:
                    with contextlib.suppress(RuntimeError):
                        graph.capture_end()
                    raise
                graph.capture_end()
            torch.cuda.current_stream().wait_stream(stream)
        return results, graph.replay

    return record


def _other(value: Tensor) -> Tensor:
    """Return a tensor of a state with other values, such as a state may have."""
    return 0.9 * value if value.is_floating_point() else value.clone()


def _autocast() -> torch.dtype | None:
    """Return the type that autocast runs in on CUDA; None: it is off."""
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None


def _uncached_autocast() -> torch.autocast:
    """Autocast as it is, but that it keeps no weights that it has converted."""
    dtype = _autocast()
    return torch.autocast("cuda", dtype=dtype, enabled=dtype is not None, cache_enabled=False)


def _agree(own: tuple[Outputs, State], expected: tuple[Outputs, State], state: State) -> bool:
    """Tell whether results at a state are those expected; a state's by how it has changed."""
    pairs = list(zip(nest.leaves(own[0]), nest.leaves(expected[0]), strict=True))
    for name, new in expected[1].items():
        old = state[name].double()
        pairs.append((own[1][name].double() - old, new.double() - old))
    return all(_is_near(one.double(), other.double()) for one, other in pairs)


def _is_near(one: Tensor, other: Tensor) -> bool:
    """Tell whether the distance is within TOLERANCE of the norm, and rounding."""
    same = one.isinf() & (one == other)
    one, other = one.masked_fill(same, 0), other.masked_fill(same, 0)
    return bool((one - other).norm() <= TOLERANCE * other.norm() + 1e-6)
