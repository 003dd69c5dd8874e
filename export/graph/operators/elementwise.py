"""Operators element by element: arithmetic, comparisons, choices."""

from __future__ import annotations

import math
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.table import Outputs, aten, emits, operand
from export.graph.passes import is_finite_everywhere


def _common(*given: Any) -> torch.dtype:
    """The type in which PyTorch compares tensors and numbers."""
    examples = [
        torch.empty([1] * len(g.shape), dtype=g.dtype) if isinstance(g, Value) else g for g in given
    ]
    common = examples[0]
    for other in examples[1:]:
        axes = max(getattr(common, "ndim", 0), getattr(other, "ndim", 0))
        common = torch.empty([1] * axes, dtype=torch.result_type(common, other))
    dtype: torch.dtype = common.dtype
    return dtype


def _operands(e: Emitter, dtype: torch.dtype, *given: Any) -> list[Value]:
    """Tensors and numbers as values of one type."""
    return [operand(e, item, dtype) for item in given]


def _binary(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(e: Emitter, out: Outputs, a: Any, b: Any, alpha: float = 1) -> Value:
        (shape, dtype) = out[0]
        right = _times(e, operand(e, b, dtype), alpha)
        return e.op(kind, [operand(e, a, dtype), right], shape, dtype)


def _times(e: Emitter, a: Value, alpha: float) -> Value:
    if alpha == 1:
        return a
    return e.op("Mul", [a, e.constant(alpha, a.dtype)], a.shape, a.dtype)


_binary("Add", aten.add.Tensor, aten.add.Scalar, torch.ops.prims.add.default)
_binary("Sub", aten.sub.Tensor, aten.sub.Scalar)
_binary("Div", aten.div.Tensor, aten.div.Scalar)
_binary("Max", aten.maximum.default, aten.clamp_min.default, aten.clamp_min.Tensor)
_binary("Min", aten.minimum.default, aten.clamp_max.default, aten.clamp_max.Tensor)


@emits(aten.mul.Tensor, aten.mul.Scalar)
def multiply(e: Emitter, out: Outputs, a: Any, b: Any) -> Value:
    """Product; of truths: both."""
    (shape, dtype) = out[0]
    kind = "And" if dtype == torch.bool else "Mul"
    return e.op(kind, _operands(e, dtype, a, b), shape, dtype)


@emits(aten.rsub.Scalar, aten.rsub.Tensor)
def reversed_difference(e: Emitter, out: Outputs, a: Any, b: Any, alpha: float = 1) -> Value:
    """b - alpha a."""
    (shape, dtype) = out[0]
    left = _times(e, operand(e, a, dtype), alpha)
    return e.op("Sub", [operand(e, b, dtype), left], shape, dtype)


@emits(aten.clamp.default, aten.clamp.Tensor, aten.hardtanh.default)
def clamp(e: Emitter, out: Outputs, a: Value, low: Any = None, high: Any = None) -> Value:
    """Within low and high, either of which may be absent."""
    (shape, dtype) = out[0]
    clamped = e.cast(a, dtype)
    if not isinstance(low, Value) and not isinstance(high, Value):
        ends = [None if end is None else e.constant(end, dtype) for end in (low, high)]
        return e.op("Clip", [clamped, *ends], shape, dtype)
    for kind, end in (("Max", low), ("Min", high)):
        if end is not None:
            clamped = e.op(kind, [clamped, operand(e, end, dtype)], shape, dtype)
    return clamped


def _unary(kind: str, target: Any) -> None:
    @emits(target)
    def emit(e: Emitter, out: Outputs, a: Value) -> Value:
        (shape, dtype) = out[0]
        return e.op(kind, [e.cast(a, dtype)], shape, dtype)


_UNARY = "Abs Exp Log Neg Sqrt Reciprocal Sigmoid Tanh Relu Erf Sign Floor Ceil Sin Cos"
for _kind in _UNARY.split():
    _unary(_kind, getattr(aten, _kind.lower()).default)


@emits(aten.rsqrt.default)
def rsqrt(e: Emitter, out: Outputs, a: Value) -> Value:
    """1 / sqrt(a)."""
    (shape, dtype) = out[0]
    return e.op("Reciprocal", [e.op("Sqrt", [e.cast(a, dtype)], shape, dtype)], shape, dtype)


@emits(aten.expm1.default)
def expm1(e: Emitter, out: Outputs, a: Value) -> Value:
    """exp(a) - 1 without cancellation: 2 sinh(a / 2) exp(a / 2)."""
    (shape, dtype) = out[0]
    half = e.op("Mul", [e.cast(a, dtype), e.constant(0.5, dtype)], shape, dtype)
    factors = [e.op("Sinh", [half], shape, dtype), e.op("Exp", [half], shape, dtype)]
    product = e.op("Mul", factors, shape, dtype)
    return e.op("Mul", [product, e.constant(2.0, dtype)], shape, dtype)


@emits(aten.log1p.default)
def log1p(e: Emitter, out: Outputs, a: Value) -> Value:
    """log(1 + a), to within rounding of 1 + a."""
    (shape, dtype) = out[0]
    return e.op("Log", [e.op("Add", [a, e.constant(1.0, dtype)], shape, dtype)], shape, dtype)


@emits(aten.pow.Tensor_Scalar)
def power(e: Emitter, out: Outputs, a: Value, exponent: float) -> Value:
    """A square is a product."""
    (shape, dtype) = out[0]
    base = e.cast(a, dtype)
    if exponent == 2:
        return e.op("Mul", [base, base], shape, dtype)
    return e.op("Pow", [base, e.constant(exponent, dtype)], shape, dtype)


def _comparison(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(e: Emitter, out: Outputs, a: Any, b: Any) -> Value:
        dtype = _common(a, b)
        return e.op(kind, _operands(e, dtype, a, b), out[0][0], torch.bool)


_comparison("Equal", aten.eq.Tensor, aten.eq.Scalar)
_comparison("Greater", aten.gt.Tensor, aten.gt.Scalar)
_comparison("GreaterOrEqual", aten.ge.Tensor, aten.ge.Scalar)
_comparison("Less", aten.lt.Tensor, aten.lt.Scalar)
_comparison("LessOrEqual", aten.le.Tensor, aten.le.Scalar)


@emits(aten.ne.Tensor, aten.ne.Scalar)
def unequal(e: Emitter, out: Outputs, a: Any, b: Any) -> Value:
    """Inequality."""
    dtype = _common(a, b)
    same = e.op("Equal", _operands(e, dtype, a, b), out[0][0], torch.bool)
    return e.op("Not", [same], out[0][0], torch.bool)


def _logical(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(e: Emitter, out: Outputs, *operands: Value) -> Value:
        if out[0][1] != torch.bool:
            raise NotImplementedError("bitwise operations on numbers")
        return e.op(kind, _operands(e, torch.bool, *operands), out[0][0], torch.bool)


_logical("And", aten.bitwise_and.Tensor, aten.logical_and.default)
_logical("Or", aten.bitwise_or.Tensor, aten.logical_or.default)
_logical("Not", aten.bitwise_not.default, aten.logical_not.default)


@emits(is_finite_everywhere)
def all_finite(e: Emitter, out: Outputs, a: Value) -> Value:
    """Zero times the values is zero, unless one is NaN or infinite."""
    if a.dtype not in (torch.float32, torch.float16):
        return e.constant(True)
    zeros = e.op("Mul", [a, e.constant(0.0, a.dtype)], a.shape, a.dtype)
    total = e.op("ReduceSum", [zeros], (), a.dtype, keepdims=0) if a.shape else zeros
    return e.op("Equal", [total, e.constant(0.0, a.dtype)], (), torch.bool)


@emits(aten.isfinite.default)
def is_finite(e: Emitter, out: Outputs, a: Value) -> Value:
    """|a| < infinity, which NaN is not."""
    size = e.op("Abs", [a], a.shape, a.dtype)
    return e.op("Less", [size, e.constant(math.inf, a.dtype)], out[0][0], torch.bool)


@emits(aten.where.self)
def where(e: Emitter, out: Outputs, condition: Value, a: Any, b: Any) -> Value:
    """a where the condition holds, else b."""
    (shape, dtype) = out[0]
    return e.op("Where", [condition, *_operands(e, dtype, a, b)], shape, dtype)


@emits(aten._to_copy.default)
def to_copy(e: Emitter, out: Outputs, a: Value, **options: Any) -> Value:
    """The value in another type."""
    return e.cast(a, out[0][1])


@emits(aten.alias.default, aten.clone.default, aten.detach.default, aten.lift_fresh_copy.default)
def same(e: Emitter, out: Outputs, a: Value, **options: Any) -> Value:
    """The value itself: nothing in the graph is changed in place."""
    return a
