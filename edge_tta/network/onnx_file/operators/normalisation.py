"""Normalisations: BatchNorm with its statistics, and those that have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.network.onnx_file.nodes import Given, Host, Node, reads, tensor
from edge_tta.network.onnx_file.operators.linear import Alone


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over any number of axes."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Take every shape (N, channels, ...)."""


def batch_norm_layer(scale: Host, shift: Host, mean: Host, variance: Host, eps: float) -> BatchNorm:
    """Return a BatchNorm in evaluation mode with these values, (channels,) each."""
    layer = BatchNorm(len(scale), eps=eps)
    with torch.no_grad():
        for tensor_, value in (
            (layer.weight, scale),
            (layer.bias, shift),
            (layer.running_mean, mean),
            (layer.running_var, variance),
        ):
            assert tensor_ is not None
            tensor_.copy_(torch.from_numpy(np.array(value, np.float32)))
    return layer.eval()


@reads("BatchNormalization")
def batch_norm(node: Node, given: Sequence[Host | None]) -> nn.Module:
    """BatchNorm by its stored statistics."""
    values = [value for value in given[1:5] if value is not None]
    if len(values) != 4 or any(v.shape != values[0].shape or v.ndim != 1 for v in values):
        raise node.error("has no constant statistics and parameters, one value a channel each")
    if node.get("training_mode", 0):
        raise node.error("is in training mode; export the network in evaluation mode")
    scale, shift, mean, variance = values
    eps = float(node.get("epsilon", 1e-5))
    return Alone(batch_norm_layer(scale, shift, mean, variance, eps))


@reads("LayerNormalization")
def layer_norm(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Normalisation over the last axes."""
    axis, eps = int(node.get("axis", -1)), float(node.get("epsilon", 1e-5))

    def compute(x: Tensor, scale: Given, shift: Given = None) -> Tensor:
        shape = list(x.shape[axis:])
        normal = functional.layer_norm(x, shape, eps=eps) * tensor(scale, x)
        return normal if shift is None else normal + tensor(shift, x)

    return compute


@reads("InstanceNormalization")
def instance_norm(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Normalisation of each channel of each image."""
    eps = float(node.get("epsilon", 1e-5))

    def compute(x: Tensor, scale: Given, shift: Given) -> Tensor:
        return functional.group_norm(x, x.shape[1], tensor(scale, x), tensor(shift, x), eps)

    return compute


@reads("GroupNormalization")
def group_norm(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Normalisation of groups of channels; until opset 20 its scale is one a group."""
    groups, eps = int(node.get("num_groups", 1)), float(node.get("epsilon", 1e-5))

    def compute(x: Tensor, scale: Given, shift: Given) -> Tensor:
        channels = int(x.shape[1])
        spread = [
            part.repeat_interleave(channels // groups) if len(part) == groups else part
            for part in (tensor(scale, x), tensor(shift, x))
        ]
        return functional.group_norm(x, groups, spread[0], spread[1], eps)

    return compute


@reads("LRN")
def local_response(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Local response normalisation over channels."""
    return nn.LocalResponseNorm(
        int(node.get("size", 1)),
        float(node.get("alpha", 1e-4)),
        float(node.get("beta", 0.75)),
        float(node.get("bias", 1.0)),
    )


@reads("LpNormalization")
def lp_normalisation(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Division by the norm along an axis."""
    order, axis = float(node.get("p", 2)), int(node.get("axis", -1))
    return lambda x: functional.normalize(x, order, axis)
