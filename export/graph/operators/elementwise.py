"""Element by element: arithmetic, comparisons, choices, activations."""

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
    found = examples[0]
    for other in examples[1:]:
        found = torch.empty(
            [1] * max(getattr(found, "ndim", 0), getattr(other, "ndim", 0)),
            dtype=torch.result_type(found, other),
        )
    dtype: torch.dtype = found.dtype
    return dtype


def _binary(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(e: Emitter, out: Outputs, a: Any, b: Any, **options: Any) -> Value:
        (shape, dtype) = out[0]
        alpha = options.get("alpha", 1)
        right = operand(e, b, dtype)
        if alpha != 1:
            right = e.op("Mul", [right, e.constant(alpha, dtype)], right.shape, dtype)
        return e.op(kind, [operand(e, a, dtype), right], shape, dtype)


_binary("Add", aten.add.Tensor, aten.add.Scalar, torch.ops.prims.add.default)
_binary("Sub", aten.sub.Tensor, aten.sub.Scalar)
_binary("Div", aten.div.Tensor, aten.div.Scalar)


@emits(aten.mul.Tensor, aten.mul.Scalar)
def multiply(e: Emitter, out: Outputs, a: Any, b: Any) -> Value:
    """Of truths: both."""
    (shape, dtype) = out[0]
    kind = "And" if dtype == torch.bool else "Mul"
    return e.op(kind, [operand(e, a, dtype), operand(e, b, dtype)], shape, dtype)


@emits(aten.rsub.Scalar, aten.rsub.Tensor)
def reversed_difference(e: Emitter, out: Outputs, a: Any, b: Any, alpha: float = 1) -> Value:
    """b - alpha a."""
    (shape, dtype) = out[0]
    left = operand(e, a, dtype)
    if alpha != 1:
        left = e.op("Mul", [left, e.constant(alpha, dtype)], left.shape, dtype)
    return e.op("Sub", [operand(e, b, dtype), left], shape, dtype)


def _extreme(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(e: Emitter, out: Outputs, a: Any, b: Any) -> Value:
        (shape, dtype) = out[0]
        return e.op(kind, [operand(e, a, dtype), operand(e, b, dtype)], shape, dtype)


_extreme("Max", aten.maximum.default, aten.clamp_min.default, aten.clamp_min.Tensor)
_extreme("Min", aten.minimum.default, aten.clamp_max.default, aten.clamp_max.Tensor)


@emits(aten.clamp.default, aten.clamp.Tensor, aten.hardtanh.default)
def clamp(e: Emitter, out: Outputs, a: Value, low: Any = None, high: Any = None) -> Value:
    """Within low and high, either of which may be absent."""
    (shape, dtype) = out[0]
    found = e.cast(a, dtype)
    if not isinstance(low, Value) and not isinstance(high, Value):
        ends = [None if end is None else e.constant(end, dtype) for end in (low, high)]
        return e.op("Clip", [found, *ends], shape, dtype)
    if low is not None:
        found = e.op("Max", [found, operand(e, low, dtype)], shape, dtype)
    if high is not None:
        found = e.op("Min", [found, operand(e, high, dtype)], shape, dtype)
    return found


def _unary(kind: str, target: Any) -> None:
    @emits(target)
    def emit(e: Emitter, out: Outputs, a: Value) -> Value:
        (shape, dtype) = out[0]
        return e.op(kind, [e.cast(a, dtype)], shape, dtype)


for _kind in (
    "Abs",
    "Exp",
    "Log",
    "Neg",
    "Sqrt",
    "Reciprocal",
    "Sigmoid",
    "Tanh",
    "Relu",
    "Erf",
    "Sign",
    "Floor",
    "Ceil",
    "Sin",
    "Cos",
):
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
        return e.op(kind, [operand(e, a, dtype), operand(e, b, dtype)], out[0][0], torch.bool)


_comparison("Equal", aten.eq.Tensor, aten.eq.Scalar)
_comparison("Greater", aten.gt.Tensor, aten.gt.Scalar)
_comparison("GreaterOrEqual", aten.ge.Tensor, aten.ge.Scalar)
_comparison("Less", aten.lt.Tensor, aten.lt.Scalar)
_comparison("LessOrEqual", aten.le.Tensor, aten.le.Scalar)


@emits(aten.ne.Tensor, aten.ne.Scalar)
def unequal(e: Emitter, out: Outputs, a: Any, b: Any) -> Value:
    """Not equal."""
    dtype = _common(a, b)
    same = e.op("Equal", [operand(e, a, dtype), operand(e, b, dtype)], out[0][0], torch.bool)
    return e.op("Not", [same], out[0][0], torch.bool)


def _logical(kind: str, *targets: Any) -> None:
    @emits(*targets)
    def emit(e: Emitter, out: Outputs, *operands: Value) -> Value:
        if out[0][1] != torch.bool:
            raise NotImplementedError("bitwise operations on numbers")
        truths = [operand(e, o, torch.bool) for o in operands]
        return e.op(kind, truths, out[0][0], torch.bool)


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
    return e.op("Where", [condition, operand(e, a, dtype), operand(e, b, dtype)], shape, dtype)


# Steep enough that min(1, max(0, STEEP (a - edge))) is a step for all but denormals. Unlike a
# comparison and a choice, which take ten times as long, it is a single fast operator.
_STEEP = 1e37


def positive(e: Emitter, a: Value, edge: float = 0.0, sign: float = 1.0) -> Value:
    """1 where sign (a - edge) > 0, else 0."""
    return e.op(
        "HardSigmoid", [a], a.shape, a.dtype, alpha=sign * _STEEP, beta=-sign * edge * _STEEP
    )


@emits(aten.threshold_backward.default)
def threshold_backward(e: Emitter, out: Outputs, grad: Value, y: Value, threshold: float) -> Value:
    """The gradient where y > threshold."""
    return e.op("Mul", [grad, positive(e, y, threshold)], *out[0])


@emits(aten.hardtanh_backward.default)
def hardtanh_backward(
    e: Emitter, out: Outputs, grad: Value, a: Value, low: float, high: float
) -> Value:
    """The gradient where low < a < high."""
    kept = e.op("Mul", [grad, positive(e, a, low)], *out[0])
    return e.op("Mul", [kept, positive(e, a, high, -1.0)], *out[0])


@emits(aten.hardsigmoid.default)
def hardsigmoid(e: Emitter, out: Outputs, a: Value) -> Value:
    """min(max(a + 3, 0), 6) / 6."""
    return e.op("HardSigmoid", [a], *out[0], alpha=1 / 6, beta=0.5)


@emits(aten.hardswish.default)
def hardswish(e: Emitter, out: Outputs, a: Value) -> Value:
    """a hardsigmoid(a)."""
    return e.op("HardSwish", [a], *out[0])


@emits(aten.silu.default)
def silu(e: Emitter, out: Outputs, a: Value) -> Value:
    """a sigmoid(a)."""
    return e.op("Mul", [a, e.op("Sigmoid", [a], a.shape, a.dtype)], *out[0])


@emits(aten.gelu.default)
def gelu(e: Emitter, out: Outputs, a: Value, approximate: str = "none") -> Value:
    """a / 2 (1 + erf(a / sqrt 2)), or with tanh in erf's place."""
    (shape, dtype) = out[0]
    if approximate == "none":
        inner = e.op("Mul", [a, e.constant(math.sqrt(0.5), dtype)], shape, dtype)
        bent = e.op("Erf", [inner], shape, dtype)
    else:
        square = e.op("Mul", [a, a], shape, dtype)
        factor = e.op("Mul", [square, e.constant(0.044715, dtype)], shape, dtype)
        factor = e.op("Add", [factor, e.constant(1.0, dtype)], shape, dtype)
        inner = e.op("Mul", [a, factor], shape, dtype)
        inner = e.op("Mul", [inner, e.constant(math.sqrt(2 / math.pi), dtype)], shape, dtype)
        bent = e.op("Tanh", [inner], shape, dtype)
    half = e.op("Mul", [a, e.constant(0.5, dtype)], shape, dtype)
    return e.op("Mul", [half, e.op("Add", [bent, e.constant(1.0, dtype)], shape, dtype)], *out[0])


@emits(aten.elu.default)
def elu(
    e: Emitter, out: Outputs, a: Value, alpha: float = 1, scale: float = 1, input_scale: float = 1
) -> Value:
    """scale a above zero, scale alpha (exp(input_scale a) - 1) below."""
    if input_scale != 1:
        raise NotImplementedError("elu with an input scale")
    bent = e.op("Elu", [a], *out[0], alpha=float(alpha))
    return bent if scale == 1 else e.op("Mul", [bent, e.constant(scale, a.dtype)], *out[0])


@emits(aten.leaky_relu.default)
def leaky_relu(e: Emitter, out: Outputs, a: Value, slope: float = 0.01) -> Value:
    """a above zero, slope a below."""
    return e.op("LeakyRelu", [a], *out[0], alpha=slope)


@emits(aten._to_copy.default)
def to_copy(e: Emitter, out: Outputs, a: Value, **options: Any) -> Value:
    """In another type."""
    return e.cast(a, out[0][1])


@emits(aten.alias.default, aten.clone.default, aten.detach.default, aten.lift_fresh_copy.default)
def same(e: Emitter, out: Outputs, a: Value, **options: Any) -> Value:
    """The value itself: nothing in the graph is changed in place."""
    return a
