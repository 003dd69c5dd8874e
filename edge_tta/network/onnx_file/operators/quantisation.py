"""Quantised networks in QDQ form, read as the float networks that they stand for.

Weights are dequantised. Of activations the limits stay and the rounding is left out, which has no
gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from edge_tta.network.onnx_file.nodes import Given, Host, Node, Value, reads


@reads("DequantizeLinear")
def dequantize(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """(whole - zero) scale, of constants; of activations, what its QuantizeLinear took."""
    axis = int(node.get("axis", 1))

    def compute(x: Value, scale: Given, zero: Given = None) -> Value:
        if isinstance(x, Tensor):
            if not x.is_floating_point():
                raise node.error("dequantises whole numbers of the images; expected float inputs")
            return x
        factor = np.asarray(scale, np.float32)
        offset = np.zeros_like(factor) if zero is None else np.asarray(zero, np.float32)
        if factor.ndim and x.ndim > 1:
            sides = [1] * x.ndim
            sides[axis] = -1
            factor, offset = factor.reshape(sides), offset.reshape(sides)
        return np.asarray((x.astype(np.float32) - offset) * factor, np.float32)

    return compute


@reads("QuantizeLinear")
def quantize(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """The limits of the quantised type, which stand for a Relu too; without rounding."""

    def compute(x: Value, scale: Given, zero: Given = None) -> Value:
        if scale is None or isinstance(scale, Tensor):
            raise node.error("has a scale that is computed from the images; expected a constant")
        signed = zero is not None and np.asarray(zero).dtype == np.int8
        low, high = (-128, 127) if signed else (0, 255)
        offset = np.float32(0) if zero is None else np.asarray(zero, np.float32)
        if isinstance(x, Tensor):
            if np.size(scale) != 1:
                raise node.error("quantises images by channel; expected one scale")
            factor, place = float(np.ravel(scale)[0]), float(np.ravel(offset)[0])
            return x.clamp((low - place) * factor, (high - place) * factor)
        dtype = np.int8 if signed else np.uint8
        return np.clip(np.round(x / scale) + offset, low, high).astype(dtype)

    return compute
