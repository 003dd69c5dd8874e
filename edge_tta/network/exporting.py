"""Exports a module as a graph with a free batch axis; one thread at a time.

torch.export keeps its place in tables of the whole process, so that two at once break each other.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from edge_tta.errors import ModelError, one_line

_ONE_AT_A_TIME = threading.Lock()
_TALKATIVE = logging.getLogger("torch.fx.experimental.symbolic_shapes")
_MOST = 65535
"""Images of a batch: on CUDA, BatchNorm takes another way above it."""
_LIMIT = 200
"""Characters of PyTorch's messages that are shown."""

# What PyTorch's message holds, and what to do then.
_ADVICE = {
    "dynamo": "give the network as it was before torch.compile",
    "compile": "give the network as it was before torch.compile",
    "Constraints violated": "remove shapes that fix the batch size",
    "data-dependent": "remove branches that depend on the data",
}
# What a forward pass keeps on its module is made anew by each call of the graph.
warnings.filterwarnings("ignore", ".* assigned during export", UserWarning)

_OTHERWISE = "rewrite that part of it in plain tensor operations"


def export(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """Return the graph of a module for images (N, channels, H, W), N >= 1.

    Raises:
        ModelError: its forward pass cannot be captured.
    """
    shapes: Any = {0: torch.export.Dim("batch", min=1, max=_MOST)}
    first = next(iter(inspect.signature(model.forward).parameters.values()), None)
    if first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL:
        shapes = (shapes,)
    try:
        # Where gradients are off anyway, no_grad in the forward pass leaves no trace.
        with _ONE_AT_A_TIME, torch.no_grad(), _retold(model):
            return torch.export.export(model, (images,), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:
        said = first_line(error)
        advice = next((a for part, a in _ADVICE.items() if part in str(error)), _OTHERWISE)
        raise ModelError(
            "the model's forward pass cannot be captured as a graph with a free batch axis: "
            f"{said}; {advice}"
        ) from error


def first_line(error: BaseException) -> str:
    """Return what an error of PyTorch says first; the rest is graphs and traces."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(Exception(lines[0]), _LIMIT) if lines else type(error).__name__


@contextlib.contextmanager
def _retold(model: nn.Module) -> Iterator[None]:
    """Raise errors of the forward pass as our own: for some of its own, torch.export prints whole
    graphs. What this thread logs about them is dropped too.
    """
    forward, own = model.forward, vars(model).get("forward")
    this_thread = threading.get_ident()

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != this_thread

    @functools.wraps(forward)
    def retold(*images: Tensor) -> Any:
        try:
            return forward(*images)
        except Exception as error:
            raise ModelError(str(error)) from error

    _TALKATIVE.addFilter(is_of_others)
    model.forward = retold  # of this module alone
    try:
        yield
    finally:
        _TALKATIVE.removeFilter(is_of_others)
        del model.forward
        if own is not None:
            model.forward = own
