"""Activations as the lean executor knows them: forward, and backward from their input.

Those that clip (ReLU, ReLU6) need to know only where they let through: their output tells, or one
bit a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

aten = torch.ops.aten


class Activation(NamedTuple):
    """An element-wise function.

    Attributes:
        name: of the aten operation, or `identity`.
        arguments: of it, after the input.
        clips: whether it is max(0, y), with `upper` min(upper, max(0, y)).
    """

    name: str = "identity"
    arguments: tuple[Any, ...] = ()
    clips: bool = False
    upper: float | None = None

    def apply(self, y: Tensor) -> Tensor:
        """Return the function of y; y may be overwritten where nothing else reads it."""
        out: Any = y
        if self.clips:
            out = aten.relu_(y) if self.upper is None else aten.hardtanh_(y, 0.0, self.upper)
        elif self != IDENTITY:
            out = getattr(aten, self.name)(y, *self.arguments)
        return out  # type: ignore[no-any-return]

    def backward(self, g: Tensor, y: Tensor) -> Tensor:
        """Return the gradient by the input y; of one that clips the output serves as well."""
        dy: Any = g
        if self.clips:
            if self.upper is None:
                dy = aten.threshold_backward(g, y, 0)
            else:
                # A little below: values next to the bound round to it.
                dy = aten.hardtanh_backward(g, y, 0.0, self.upper * (1 - 1e-4))
        elif self != IDENTITY:
            dy = _BACKWARD[self.name](g, y, *self.arguments)
        return dy  # type: ignore[no-any-return]


IDENTITY = Activation()


_BACKWARD: dict[str, Callable[..., Any]] = {
    "silu": aten.silu_backward,
    "hardswish": aten.hardswish_backward,
    "hardsigmoid": aten.hardsigmoid_backward,
    "sigmoid": lambda g, y: aten.sigmoid_backward(g, y.sigmoid()),
    "tanh": lambda g, y: aten.tanh_backward(g, y.tanh()),
    "gelu": aten.gelu_backward,
    "leaky_relu": lambda g, y, slope=0.01: aten.leaky_relu_backward(g, y, slope, False),
}


def activation_of(node: fx.Node) -> Activation | None:
    """Return the activation that a node applies to its first argument; None: none of these."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return None
    name = node.target._schema.name.split("::")[1]
    rest: tuple[Any, ...] = tuple(node.args[1:])
    if name == "relu":
        return Activation("relu", clips=True)
    if name == "relu6":
        return Activation("hardtanh", clips=True, upper=6.0)
    if name == "hardtanh" and len(rest) == 2 and rest[0] == 0:
        return Activation("hardtanh", clips=True, upper=float(rest[1]))
    return Activation(name, rest) if name in _BACKWARD and not node.kwargs else None
