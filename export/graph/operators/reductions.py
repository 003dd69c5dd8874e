"""Sums, means, extremes, softmax, products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.table import Outputs, aten, emits, same_as


def reduced(e: Emitter, kind: str, a: Value, axes: Sequence[int], out: Any) -> Value:
    """A reduction over axes to the shape of `out`; over none, the value itself."""
    shape, dtype = out
    if not a.shape:
        return a
    axes = [axis % len(a.shape) for axis in axes] or list(range(len(a.shape)))
    keeps = len(shape) == len(a.shape)
    where = e.constant(axes, torch.int64)
    return e.op(kind, [a, where], shape, dtype, keepdims=int(keeps))


def _reduction(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(
        e: Emitter, out: Outputs, a: Value, axes: Any = (), *rest: Any, **options: Any
    ) -> Value:
        given = [axes] if isinstance(axes, int) else list(axes or ())
        return reduced(e, kind, e.cast(a, out[0][1]), given, out[0])


_reduction("ReduceSum", aten.sum.dim_IntList, aten.sum.default)
_reduction("ReduceMean", aten.mean.dim, aten.mean.default)
_reduction("ReduceMax", aten.amax.default)
_reduction("ReduceMin", aten.amin.default)


def _quantifier(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(e: Emitter, out: Outputs, a: Value, axes: Any = (), keeps: bool = False) -> Value:
        given = [axes] if isinstance(axes, int) else list(axes or ())
        number = e.cast(e.cast(a, torch.bool), torch.int32)
        return e.cast(reduced(e, kind, number, given, (out[0][0], torch.int32)), torch.bool)


_quantifier("ReduceMin", aten.all.default, aten.all.dim, aten.all.dims)
_quantifier("ReduceMax", aten.any.default, aten.any.dim, aten.any.dims)


@emits(aten.argmax.default)
def argmax(
    e: Emitter, out: Outputs, a: Value, axis: int | None = None, keeps: bool = False
) -> Value:
    """Place of the largest along an axis."""
    if axis is None:
        raise NotImplementedError("argmax over all axes")
    return e.op("ArgMax", [a], *out[0], axis=axis % len(a.shape), keepdims=int(keeps))


def _along_an_axis(kind: str, target: Any) -> None:
    @emits(target)
    def emit(e: Emitter, out: Outputs, a: Value, axis: int, half: bool = False) -> Value:
        return e.op(kind, [a], *out[0], axis=axis % len(a.shape))


_along_an_axis("Softmax", aten._softmax.default)
_along_an_axis("LogSoftmax", aten._log_softmax.default)
same_as("MatMul", aten.mm.default, aten.bmm.default, aten.matmul.default)


@emits(aten.addmm.default)
def addmm(
    e: Emitter, out: Outputs, bias: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1
) -> Value:
    """alpha a b + beta bias."""
    return e.op("Gemm", [a, b, bias], *out[0], alpha=float(alpha), beta=float(beta))
