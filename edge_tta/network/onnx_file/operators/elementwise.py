"""Arithmetic and comparisons, of tensors and of shapes alike."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_tta.network.onnx_file.nodes import Given, Host, Node, Value, reads, tensor

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def _divide(a: Any, b: Any) -> Any:
    """Division; of whole numbers towards zero, as in C."""
    if isinstance(a, Tensor):
        if a.dtype in _WHOLE and b.dtype in _WHOLE:
            return torch.div(a, b, rounding_mode="trunc")
        return a / b
    if a.dtype.kind in "iuO" and b.dtype.kind in "iuO":
        return a // b  # of shapes, which are not negative
    return a / b


def _power(a: Any, b: Any) -> Any:
    return a**b


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _divide,
    "Pow": _power,
    "Equal": operator.eq,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
}


@reads(*_BINARY)
def binary(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Arithmetic of two, which broadcast."""
    function = _BINARY[node.operator]

    def compute(a: Value, b: Value) -> Value:
        a, b = _alike(a, b)
        return _value(function(a, b))

    return compute


@reads("Mod")
def modulo(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Remainder, with the sign of the divisor; with `fmod` that of the dividend."""
    like_c = bool(node.get("fmod", 0))

    def compute(a: Value, b: Value) -> Value:
        a, b = _alike(a, b)
        if isinstance(a, Tensor):
            return torch.fmod(a, b) if like_c else torch.remainder(a, b)  # type: ignore[arg-type]
        return np.asarray(a % b)

    return compute


@reads("Sum", "Mean", "Max", "Min")
def variadic(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Sum, mean, largest or smallest of any number, which broadcast."""
    kind = node.operator

    def pair(a: Value, b: Value) -> Value:
        a, b = _alike(a, b)
        if kind in ("Sum", "Mean"):
            return _value(operator.add(a, b))
        if isinstance(a, Tensor):
            function = torch.maximum if kind == "Max" else torch.minimum
            return function(a, b)  # type: ignore[arg-type]
        return np.asarray((np.maximum if kind == "Max" else np.minimum)(a, b))

    def compute(*values: Value) -> Value:
        total = functools.reduce(pair, values)
        return total / len(values) if kind == "Mean" else total

    return compute


def _round(x: Tensor) -> Tensor:
    return torch.round(x)


# Operator: function of tensors, and of what is known without images where it has one.
_UNARY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Host], Any] | None]] = {
    "Neg": (torch.neg, operator.neg),
    "Abs": (torch.abs, np.abs),
    "Floor": (torch.floor, np.floor),
    "Ceil": (torch.ceil, np.ceil),
    "Round": (_round, np.round),
    "Sqrt": (torch.sqrt, np.sqrt),
    "Exp": (torch.exp, None),
    "Log": (torch.log, None),
    "Erf": (torch.erf, None),
    "Reciprocal": (torch.reciprocal, None),
    "Sign": (torch.sign, np.sign),
    "Sin": (torch.sin, None),
    "Cos": (torch.cos, None),
    "Not": (torch.logical_not, np.logical_not),
    "IsNaN": (torch.isnan, None),
}


@reads(*_UNARY)
def unary(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """A function of each value."""
    of_tensors, of_hosts = _UNARY[node.operator]

    def compute(x: Value) -> Value:
        if isinstance(x, Tensor):
            return of_tensors(x)
        if x.dtype == object:
            return x if node.operator in ("Floor", "Ceil", "Round", "Abs") else _value(of_hosts(x))  # type: ignore[misc]
        if of_hosts is None:
            return of_tensors(torch.as_tensor(x)).numpy()
        return np.asarray(of_hosts(x))

    return compute


@reads("Where")
def where(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """One of two by a condition."""

    def compute(condition: Value, a: Value, b: Value) -> Value:
        like = next((v for v in (condition, a, b) if isinstance(v, Tensor)), None)
        if like is None:
            chosen = np.where(np.asarray(condition).astype(bool), a, b)
            return np.asarray(chosen)
        return torch.where(tensor(condition, like).bool(), tensor(a, like), tensor(b, like))

    return compute


def _alike(a: Value, b: Value) -> tuple[Any, Any]:
    """Return both as tensors, or both as what is known without images."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        like = a if isinstance(a, Tensor) else b
        assert isinstance(like, Tensor)
        return _scalar(a, like), _scalar(b, like)
    return a, b


def _scalar(value: Given, like: Tensor) -> Tensor:
    made = tensor(value, like)
    # A whole number from a shape meets floats, as after a Cast that the exporter left out.
    if made.ndim == 0 and like.is_floating_point() and not made.is_floating_point():
        return made.to(like.dtype)
    return made


def _value(result: Any) -> Value:
    """Return a result as a value: arithmetic of arrays without axes gives plain numbers."""
    if isinstance(result, Tensor):
        return result
    if isinstance(result, np.ndarray):
        return result
    if isinstance(result, (bool, float, np.generic)):
        return np.asarray(result)
    made = np.empty((), object)
    made[()] = result
    return made
