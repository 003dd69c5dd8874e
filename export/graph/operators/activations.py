"""Activations and what flows back through them."""

from __future__ import annotations

import math

from export.graph.emitter import Emitter, Value
from export.graph.operators.table import Outputs, aten, emits, same_as

# Steep enough that min(1, max(0, STEEP (a - edge))) is a step for all but denormals. Unlike a
# comparison and a choice, which take ten times as long, it is a single fast operator.
_STEEP = 1e37


def _positive(e: Emitter, a: Value, edge: float = 0.0, sign: float = 1.0) -> Value:
    """1 where sign (a - edge) > 0, else 0."""
    return e.op(
        "HardSigmoid", [a], a.shape, a.dtype, alpha=sign * _STEEP, beta=-sign * edge * _STEEP
    )


@emits(aten.threshold_backward.default)
def threshold_backward(e: Emitter, out: Outputs, grad: Value, y: Value, threshold: float) -> Value:
    """The gradient where y > threshold."""
    return e.op("Mul", [grad, _positive(e, y, threshold)], *out[0])


@emits(aten.hardtanh_backward.default)
def hardtanh_backward(
    e: Emitter, out: Outputs, grad: Value, a: Value, low: float, high: float
) -> Value:
    """The gradient where low < a < high."""
    above = e.op("Mul", [grad, _positive(e, a, low)], *out[0])
    return e.op("Mul", [above, _positive(e, a, high, -1.0)], *out[0])


same_as("HardSigmoid", aten.hardsigmoid.default, alpha=1 / 6, beta=0.5)
same_as("HardSwish", aten.hardswish.default)


@emits(aten.silu.default)
def silu(e: Emitter, out: Outputs, a: Value) -> Value:
    """a sigmoid(a)."""
    return e.op("Mul", [a, e.op("Sigmoid", [a], a.shape, a.dtype)], *out[0])


@emits(aten.gelu.default)
def gelu(e: Emitter, out: Outputs, a: Value, approximate: str = "none") -> Value:
    """a / 2 (1 + erf(a / sqrt 2)), or with tanh in erf's place."""
    (shape, dtype) = out[0]

    def scaled(values: Value, factor: float) -> Value:
        return e.op("Mul", [values, e.constant(factor, dtype)], shape, dtype)

    def one_more(values: Value) -> Value:
        return e.op("Add", [values, e.constant(1.0, dtype)], shape, dtype)

    if approximate == "none":
        bent = e.op("Erf", [scaled(a, math.sqrt(0.5))], shape, dtype)
    else:
        square = e.op("Mul", [a, a], shape, dtype)
        inner = e.op("Mul", [a, one_more(scaled(square, 0.044715))], shape, dtype)
        bent = e.op("Tanh", [scaled(inner, math.sqrt(2 / math.pi))], shape, dtype)
    return e.op("Mul", [scaled(a, 0.5), one_more(bent)], shape, dtype)


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
