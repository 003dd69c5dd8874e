"""The table, and the decorator that fills it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from export.graph.emitter import Emitter, Value

# Shapes and types of a node's outputs, as PyTorch found them.
Outputs = list[tuple[tuple[int, ...], torch.dtype]]

# (emitter, outputs wanted, arguments of the PyTorch operator) -> one value or several
Operator = Callable[..., Any]

OPERATORS: dict[Any, Operator] = {}

aten = torch.ops.aten


def emits(*targets: Any) -> Callable[[Operator], Operator]:
    """Registers a function for these operators.

    It is called as function(emitter, outputs, *args, **kwargs): tensors among the arguments are
    `Value`s, everything else is as PyTorch has it.
    """

    def register(function: Operator) -> Operator:
        for target in targets:
            OPERATORS[target] = function
        return function

    return register


def same_as(kind: str, *targets: Any, **attributes: Any) -> None:
    """Registers an ONNX operator that takes the same tensors as these operators of PyTorch."""

    @emits(*targets)
    def emit(e: Emitter, out: Outputs, *operands: Value) -> Value:
        return e.op(kind, operands, *out[0], **attributes)


def operand(e: Emitter, given: Value | float | int | bool, dtype: torch.dtype) -> Value:
    """A tensor or number as a value of this type."""
    if isinstance(given, Value):
        return e.cast(given, dtype)
    return e.constant(given, dtype)
