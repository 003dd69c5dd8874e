"""Convolutions, and products of matrices in their place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from export.graph.emitter import Emitter, Value
from export.graph.operators.table import Outputs, aten, emits


class Geometry(NamedTuple):
    """Arguments of a convolution after its bias, in the order of aten; a number for each axis."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of ONNX's Conv and ConvTranspose."""
        return {
            "strides": list(self.stride),
            "pads": [*self.padding, *self.padding],
            "dilations": list(self.dilation),
            "group": self.groups,
        }


@emits(aten.convolution.default)
def convolution(
    e: Emitter, out: Outputs, a: Value, weight: Value, bias: Value | None, *arguments: Any
) -> Value:
    """Plain or transposed; arguments: of `Geometry`."""
    geometry = Geometry(*arguments)
    inputs = [a, weight] if bias is None else [a, weight, bias]
    # A folded convolution absorbs its activation, and its neighbours are blocks too.
    is_folded = e.folds and e.style == "fast" and (bias is None or e.known(bias) is not None)
    if geometry.transposed:
        padding = list(geometry.output_padding)
        return e.op(
            "ConvTranspose", inputs, *out[0], output_padding=padding, **geometry.attributes()
        )
    if is_product(e, a, weight, geometry) and not is_folded:
        return _product(e, out, every(e, a, out[0][0], geometry.stride), weight, bias)
    return e.op("Conv", inputs, *out[0], **geometry.attributes())


# With fewer positions the blocks of Conv are faster than a product of matrices.
_FEW_POSITIONS = 100


def is_product(e: Emitter, a: Value, weight: Value, geometry: Geometry) -> bool:
    """Return whether a convolution is to be a product of matrices: pointwise, of one image."""
    pointwise = set(weight.shape[2:]) == {1} and not any(geometry.padding) and geometry.groups == 1
    if not pointwise or a.shape[0] != 1 or e.style == "plain":
        return False
    return e.style == "compact" or not 1 < math.prod(a.shape[2:]) < _FEW_POSITIONS


def matrices(e: Emitter, weight: Value, a: Value) -> list[Value]:
    """Return a pointwise weight (C_out, C_in), and one image (channels, positions)."""
    matrix = e.reshape_constant(weight, (weight.shape[0], weight.shape[1]))
    return [matrix, e.reshape(a, (a.shape[1], math.prod(a.shape[2:])))]


def every(e: Emitter, a: Value, shape: tuple[int, ...], stride: Sequence[int]) -> Value:
    """Positions of a stride. A pool over one position is faster than a slice."""
    if set(stride) == {1}:
        return a
    strided = (*a.shape[:2], *shape[2:])
    return e.op(
        "MaxPool", [a], strided, a.dtype, kernel_shape=[1 for _ in stride], strides=list(stride)
    )


def _product(e: Emitter, out: Outputs, a: Value, weight: Value, bias: Value | None) -> Value:
    """Pointwise, of one image: W (C_out, C_in) times (C_in, positions).

    As fast as Conv, and the weight is used where it is: Conv has it repacked into blocks, and
    whatever stands around is converted to blocks and back.
    """
    (shape, dtype), inputs = out[0], matrices(e, weight, a)
    if bias is not None:
        inputs.append(e.reshape_constant(bias, (bias.shape[0], 1)))
    kind = "MatMul" if bias is None else "Gemm"
    return e.reshape(e.op(kind, inputs, (weight.shape[0], inputs[1].shape[1]), dtype), shape)
