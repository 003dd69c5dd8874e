"""Activations as the lean executor knows them: forward, and backward from their input.

Those that cut (ReLU, ReLU6) need to know only where they let through: their output tells, or one
bit a value.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

aten = torch.ops.aten


class Activation(NamedTuple):
    """An element-wise function.

    Attributes:
        name: of the aten operation.
        arguments: of it, after the input.
        cuts: whether it is max(0, y), with `upper` min(upper, max(0, y)).
    """

    name: str
    arguments: tuple[Any, ...] = ()
    cuts: bool = False
    upper: float | None = None

    def apply(self, y: Tensor) -> Tensor:
        """The function of y; y may be used up where nothing else reads it."""
        if self.cuts:
            bounded = aten.relu_(y) if self.upper is None else aten.hardtanh_(y, 0.0, self.upper)
            return _tensor(bounded)
        out: Tensor = getattr(aten, self.name)(y, *self.arguments)
        return out

    def backward(self, g: Tensor, y: Tensor) -> Tensor:
        """Gradient by the input y; of one that cuts the output serves as well."""
        if self.cuts:
            if self.upper is None:
                return _tensor(aten.threshold_backward(g, y, 0))
            # A little below: values next to the bound round to it.
            return _tensor(aten.hardtanh_backward(g, y, 0.0, self.upper * (1 - 1e-4)))
        return _tensor(_BACKWARD[self.name](g, y, *self.arguments))


def _tensor(found: Any) -> Tensor:
    """What PyTorch's operations return, which its type hints do not say."""
    result: Tensor = found
    return result


def _silu(g: Tensor, y: Tensor) -> Tensor:
    return _tensor(aten.silu_backward(g, y))


def _hardswish(g: Tensor, y: Tensor) -> Tensor:
    return _tensor(aten.hardswish_backward(g, y))


def _hardsigmoid(g: Tensor, y: Tensor) -> Tensor:
    return _tensor(aten.hardsigmoid_backward(g, y))


def _sigmoid(g: Tensor, y: Tensor) -> Tensor:
    return _tensor(aten.sigmoid_backward(g, y.sigmoid()))


def _tanh(g: Tensor, y: Tensor) -> Tensor:
    return _tensor(aten.tanh_backward(g, y.tanh()))


def _gelu(g: Tensor, y: Tensor, approximate: str = "none") -> Tensor:
    return _tensor(aten.gelu_backward(g, y, approximate=approximate))


def _leaky_relu(g: Tensor, y: Tensor, slope: float = 0.01) -> Tensor:
    return _tensor(aten.leaky_relu_backward(g, y, slope, False))


_BACKWARD: dict[str, Any] = {
    "silu": _silu,
    "hardswish": _hardswish,
    "hardsigmoid": _hardsigmoid,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
}


def activation_of(node: fx.Node) -> Activation | None:
    """The activation that a node applies to its first argument; None: it is none of these."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return None
    name = node.target._schema.name.split("::")[1]
    rest = tuple(node.args[1:])
    if name == "relu":
        return Activation("relu", cuts=True)
    if name == "relu6":
        return Activation("hardtanh", cuts=True, upper=6.0)
    if name == "hardtanh" and len(rest) == 2 and rest[0] == 0:
        return Activation("hardtanh", cuts=True, upper=float(rest[1]))  # type: ignore[arg-type]
    if name in _BACKWARD and not node.kwargs:
        return Activation(name, rest)
    return None
