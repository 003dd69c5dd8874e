"""Enlarging and shrinking of maps, and what flows back through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.table import Outputs, aten, emits


@emits(aten.upsample_nearest2d.default, aten.upsample_nearest2d.vec)
def nearest(e: Emitter, out: Outputs, a: Value, *options: Any) -> Value:
    """The value of the nearest position, by whole parts of the scale."""
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return _resized(e, out, a, "nearest", **how)


@emits(aten.upsample_bilinear2d.default, aten.upsample_bilinear2d.vec)
def bilinear(e: Emitter, out: Outputs, a: Value, size: Any, corners: bool, *scales: Any) -> Value:
    """The mean of four neighbours by their distance."""
    place = "align_corners" if corners else "half_pixel"
    return _resized(e, out, a, "linear", coordinate_transformation_mode=place)


@emits(aten.upsample_nearest2d_backward.default)
def nearest_backward(
    e: Emitter, out: Outputs, grad: Value, size: Any, shape: Sequence[int], *scales: Any
) -> Value:
    """The gradient, summed over the positions that had one value."""
    factors = [high / low for high, low in zip(grad.shape[2:], shape[2:], strict=True)]
    if any(factor != int(factor) for factor in factors):
        raise NotImplementedError("the gradient of nearest upsampling by no whole factor")
    window = [int(factor) for factor in factors]
    means = e.op("AveragePool", [grad], *out[0], kernel_shape=window, strides=window)
    count = e.constant(float(window[0] * window[1]), torch.float32)
    return e.op("Mul", [means, count], *out[0])


def _resized(e: Emitter, out: Outputs, a: Value, mode: str, **how: str) -> Value:
    shape, dtype = out[0]
    scales = [new / old for new, old in zip(shape, a.shape, strict=True)]
    return e.op(
        "Resize", [a, None, e.constant(scales, torch.float32)], shape, dtype, mode=mode, **how
    )
