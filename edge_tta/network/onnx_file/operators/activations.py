"""Activations: functions of each value alone, softmax, and dropout, which does nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.network.onnx_file.nodes import Given, Host, Node, reads, tensor

_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": functional.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "HardSwish": functional.hardswish,
    "Mish": functional.mish,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Identity": lambda x: x,
}

ACTIVATIONS = frozenset(
    [
        *(_PLAIN.keys() - {"Identity"}),
        *("LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "HardSigmoid", "PRelu"),
        *("Clip", "Gelu", "Swish", "Erf"),
    ]
)
"""Operators that a BatchNorm commonly stands in front of."""


@reads(*_PLAIN)
def plain(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """A function without parameters."""
    return _PLAIN[node.operator]


@reads("Dropout")
def dropout(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Nothing, out of training."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.error("gives its mask too; export the network in evaluation mode")
    return lambda x, *_: x


@reads("LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "HardSigmoid", "Gelu", "Swish")
def parametrised(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """A function with numbers of its own."""
    kind = node.operator

    def alpha(usual: float) -> float:
        return float(node.get("alpha", usual))

    if kind == "LeakyRelu":
        slope = alpha(0.01)
        return lambda x: functional.leaky_relu(x, slope)
    if kind == "Elu":
        scale = alpha(1.0)
        return lambda x: functional.elu(x, scale)
    if kind == "Celu":
        scale = alpha(1.0)
        return lambda x: functional.celu(x, scale)
    if kind == "Selu":
        scale, gamma = alpha(1.6732632), float(node.get("gamma", 1.050701))
        return lambda x: gamma * functional.elu(x, scale)
    if kind == "ThresholdedRelu":
        least = alpha(1.0)
        return lambda x: functional.threshold(x, least, 0.0)
    if kind == "Gelu":
        how = node.get("approximate", "none")
        return lambda x: functional.gelu(x, approximate=how)
    if kind == "Swish":
        scale = alpha(1.0)
        return lambda x: x * torch.sigmoid(scale * x)
    slope, offset = alpha(0.2), float(node.get("beta", 0.5))
    if (round(slope * 6, 4), offset) == (1.0, 0.5):
        return functional.hardsigmoid
    return lambda x: torch.clamp(x * slope + offset, 0.0, 1.0)


@reads("PRelu")
def prelu(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Relu with a slope for each channel."""

    def compute(x: Tensor, slope: Given) -> Tensor:
        return torch.where(x < 0, x * tensor(slope, x), x)

    return compute


@reads("Clip")
def clip(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Limits, which are attributes before opset 11."""

    def limit(value: Given) -> float | None:
        if isinstance(value, Tensor):
            raise node.error("has limits that are computed from the images; expected constants")
        if value is None or not value.size:
            return None
        return float(value.ravel()[0])

    def compute(x: Tensor, low: Given = None, high: Given = None) -> Tensor:
        least, most = limit(low), limit(high)
        if least is None and most is None:
            return x
        return torch.clamp(x, least, most)

    return compute


@reads("Softmax", "LogSoftmax")
def softmax(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Softmax along an axis; before opset 13 over that one and all behind it."""
    function = torch.softmax if node.operator == "Softmax" else torch.log_softmax
    if node.opset >= 13:
        axis = int(node.get("axis", -1))
        return lambda x: function(x, axis)
    first = int(node.get("axis", 1))

    def compute(x: Tensor) -> Tensor:
        begin = first % x.ndim
        if begin == x.ndim - 1:
            return function(x, begin)
        return function(x.flatten(begin), begin).reshape(x.shape)

    return compute
