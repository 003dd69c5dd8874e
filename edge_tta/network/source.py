"""One private copy of a model, which any number of adapters share."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from edge_tta.errors import ModelError
from edge_tta.network.capture import agrees, capture, fingerprint_of
from edge_tta.network.checking import check_module, evaluating, unwrap_parts, unwrapped
from edge_tta.network.exporting import first_line
from edge_tta.network.lean.codes import Precision
from edge_tta.network.lean.rewriting import lean_program
from edge_tta.network.program import Program
from edge_tta.tasks import Task

_log = logging.getLogger(__name__)


@functools.cache
def _tell_once(fingerprint: str, note: str) -> None:
    """Log what was done to a network, however often it is captured or copied."""
    _log.warning("%s", note)


@contextlib.contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """A block in which CUDA computes convolutions and products of float32 in float32."""
    if device.type != "cuda":
        yield
        return
    # PyTorch refuses its older names where the newer ones were used, from 2.9 on.
    name: str = "fp32_precision"
    exact: str | bool = "ieee"
    parts: list[Any] = [getattr(torch.backends.cudnn, "conv", None), torch.backends.cuda.matmul]
    if not all(hasattr(part, name) for part in parts):
        name, exact = "allow_tf32", False
        parts = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [getattr(part, name) for part in parts]
    try:
        for part in parts:
            setattr(part, name, exact)
        yield
    finally:
        for part, value in zip(parts, before, strict=True):
            setattr(part, name, value)


class SourceNetwork:
    """A copy of a model in evaluation mode, float32, on one device; the model is not changed.

    What DataParallel or torch.compile wrapped is taken out of the wrapper.

    Attributes:
        fingerprint: SHA-256 of the weights.
        task: what the outputs mean; None: what they look like.

    Raises:
        ModelError: no module, one of TorchScript, one that cannot be copied, or that
            `check_module` refuses.
    """

    # Tensors made in inference mode cannot take part in a backward pass.
    @torch.inference_mode(False)
    def __init__(self, model: nn.Module, device: torch.device, task: Task | None = None) -> None:
        model = unwrapped(model)
        check_module(model)
        try:
            self._model = copy.deepcopy(model).float().requires_grad_(False).to(device)
        except Exception as error:
            raise ModelError(
                f"the model cannot be copied to {device}: {first_line(error)}; expected a "
                "module whose attributes copy.deepcopy takes, with weights that are there"
            ) from error
        unwrap_parts(self._model)
        evaluating(self._model)
        self._programs: dict[tuple[str, str], tuple[tuple[int, ...], Program]] = {}
        self.device, self.task = device, task
        self.fingerprint = fingerprint_of(self._model)

    @torch.inference_mode(False)
    def program(
        self, image_shape: tuple[int, ...], saved: str = "stock", below: str = ""
    ) -> Program:
        """Return the network captured for images (channels, H, W); the last shape's is kept.

        Args:
            saved: for the backward pass: `stock`, what PyTorch's autograd saves, or lean
                (`edge_tta.network.lean`), a `Precision`.
            below: name of the layer before which BatchNorms are folded; "": none are.

        Raises:
            ModelError: it cannot be captured or holds nothing to adapt, or no such layer.
        """
        known = self._programs.get((saved, below))
        if known is not None and known[0] == image_shape:
            return known[1]
        # A capture compares results, which autocast and TF32 would round.
        with torch.autocast(self.device.type, enabled=False), _full_precision(self.device):
            if saved == "stock":
                program = capture(self._model, image_shape, self.fingerprint, below, self.task)
            else:
                program = self._lean(image_shape, Precision(saved), below)
        if program.note:
            _tell_once(self.fingerprint, program.note)
        self._programs[saved, below] = image_shape, program
        return program

    def _lean(self, image_shape: tuple[int, ...], precision: Precision, below: str) -> Program:
        """Channels last where the network takes that: some reshape in ways that it does not."""
        for layout in (torch.channels_last, torch.contiguous_format):
            self._lay_out(layout)
            last = layout is torch.channels_last
            try:
                plain = self.program(image_shape, below=below)
                program = lean_program(plain, precision, channels_last=last)
                if agrees(program, plain, image_shape):
                    return program
            except ModelError:
                if not last:
                    raise
            self._programs.pop(("stock", below), None)
        raise ModelError(
            "the lean form of the network does not compute what the network computes; use "
            "--saved stock"
        )

    def _lay_out(self, layout: torch.memory_format) -> None:
        """Change how weights with four axes lie; `Module.to` would refuse those with five."""
        for tensor in (*self._model.parameters(), *self._model.buffers()):
            if tensor.ndim == 4:
                tensor.data = tensor.data.contiguous(memory_format=layout)

    def copy(self) -> nn.Module:
        """Return the module, to be changed freely; its weights lie as PyTorch makes them."""
        return copy.deepcopy(self._model).to(memory_format=torch.contiguous_format)
