"""One private, frozen copy of a model, which any number of adapters share."""

from __future__ import annotations

import copy

import torch
from torch import nn

from edge_tta.network.capture import capture, fingerprint_of
from edge_tta.network.program import Program


class FrozenNetwork:
    """A copy of a model in evaluation mode, float32, on one device; the model is not changed.

    Attributes:
        fingerprint: SHA-256 of the weights.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = copy.deepcopy(model).float().eval().requires_grad_(False).to(device)
        self._program: tuple[tuple[int, ...], Program] | None = None
        self.device = device
        self.fingerprint = fingerprint_of(self._model)

    def program(self, image_shape: tuple[int, ...]) -> Program:
        """The network captured for images (channels, H, W); the last shape's is kept.

        Raises:
            ModelError: it cannot be captured or holds nothing to adapt.
        """
        if self._program is None or self._program[0] != image_shape:
            self._program = image_shape, capture(self._model, image_shape, self.fingerprint)
        return self._program[1]

    def copy(self) -> nn.Module:
        """The module, to be changed freely."""
        return copy.deepcopy(self._model)
