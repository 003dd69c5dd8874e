"""Steps on CUDA, recorded as graphs: a frame is one launch, in place of one for each kernel.

A step reads images and state and has no branch on data, so what it launches is the same on every
frame of a shape. It is recorded once, over copies of images and state that stay where they are, and
launched again for each frame (PyTorch's `torch.cuda.CUDAGraph`). A recording serves only once it
has given what the step itself gives, on the frame that it was made at; else all goes on as before.
"""

from __future__ import annotations

import logging
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
MOST = 8
"""Recordings that are kept, the latest ones; each has the memory of a step."""
TOLERANCE = 0.02
"""Difference from the step itself that is let pass, of a tensor's largest value."""

Run = Callable[[], Any]
Record = Callable[[Run], tuple[Any, Callable[[], None]]]
"""Returns the results of a run, and what computes them again in the same place."""


class RecordedStep:
    """`Step` with the same functions and results, each recorded for each shape of its images.

    While the step has a listener to its stages, it runs unrecorded.

    Args:
        step: made with `traced`, since nothing may wait for the device.
        record: None: as CUDA graphs.
    """

    def __init__(self, step: Step, record: Record | None = None) -> None:
        self._step, self._record = step, record or cuda_recorder(step.program.device)
        self._recordings: dict[Any, _Recording | None] = {}

    def predict(self, images: Tensor, state: State) -> Outputs:
        """Return outputs; see `Step.predict`."""
        return self._run(self._step.predict, images, state)

    def observe(self, images: Tensor, state: State) -> tuple[Outputs, State]:
        """Return outputs and new state; see `Step.observe`."""
        outputs, new = self._run(self._step.observe, images, state)
        return outputs, new

    def learn(self, images: Tensor, state: State, *, views: int = 1) -> tuple[Outputs, State]:
        """Return outputs and new state; see `Step.learn`."""

        def learn(images: Tensor, state: State) -> tuple[Outputs, State]:
            return self._step.learn(images, state, views=views)

        outputs, new = self._run(learn, images, state, views)
        return outputs, new

    def _run(
        self,
        function: Callable[[Tensor, State], Any],
        images: Tensor,
        state: State,
        views: int = 1,
    ) -> Any:
        if self._step.on_stage is not no_stage:
            return function(images, state)
        shapes = (images.shape, *((name, value.shape) for name, value in state.items()))
        key = (function.__name__, views, shapes, _autocast(images.device.type))
        if key in self._recordings:
            recording = self._recordings[key]
            return function(images, state) if recording is None else recording(images, state)
        results = function(images, state)
        if len(self._recordings) == MOST:
            del self._recordings[next(iter(self._recordings))]
        self._recordings[key] = self._recorded(function, images, state, results)
        return results

    def _recorded(
        self, function: Callable[[Tensor, State], Any], images: Tensor, state: State, results: Any
    ) -> _Recording | None:
        """Return a recording that gives the results too, from what was recorded on other images."""
        held, held_state = images.flip(-1), nest.mapped(torch.clone, state)
        try:
            outputs, again = self._record(lambda: function(held, held_state))
            recording = _Recording(held, held_state, outputs, again)
            problem = _difference(recording(images, state), results)
        except RuntimeError as error:
            problem = str(error).partition("\n")[0]
        if not problem:
            return recording
        _log.warning("no CUDA graph of %s, so frames take longer: %s", function.__name__, problem)
        return None


class _Recording(NamedTuple):
    """What a recording reads, what it writes, and how to launch it."""

    images: Tensor
    state: State
    outputs: Any
    again: Callable[[], None]

    def __call__(self, images: Tensor, state: State) -> Any:
        self.images.copy_(images)
        for name, value in self.state.items():
            value.copy_(state[name])
        self.again()
        return nest.mapped(torch.clone, self.outputs)


def cuda_recorder(device: torch.device) -> Record:
    """Return what records runs on a device; their recordings share memory."""
    pool = torch.cuda.graph_pool_handle()

    def record(run: Run) -> tuple[Any, Callable[[], None]]:
        with torch.cuda.device(device), _uncached_autocast():
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    run()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Another thread may predict meanwhile.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                outputs = run()
        return outputs, graph.replay

    return record


def _autocast(device_type: str) -> torch.dtype | None:
    """Return the type that autocast runs in; None: it is off."""
    on = torch.is_autocast_enabled(device_type)
    return torch.get_autocast_dtype(device_type) if on else None


def _uncached_autocast() -> torch.autocast:
    """Autocast as it is, but that it keeps no weights that it has converted."""
    dtype = _autocast("cuda")
    return torch.autocast("cuda", dtype=dtype, enabled=dtype is not None, cache_enabled=False)


def _difference(results: Any, expected: Any) -> str:
    """Return in what results differ from what was expected; nothing: they do not."""
    for own, other in zip(nest.leaves(results), nest.leaves(expected), strict=True):
        own, other = own.double(), other.double()
        largest = other.abs().max() if other.numel() else 0.0
        if not bool(((own - other).abs() <= TOLERANCE * largest).all()):
            return "it gives other results than the step itself"
    return ""
