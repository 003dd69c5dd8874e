"""Pooling and what flows back through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from export.graph.emitter import Emitter, Value
from export.graph.nodes import AXIS_WEIGHTS, channel_means
from export.graph.operators.convolution import Geometry
from export.graph.operators.convolution_gradients import input_gradient
from export.graph.operators.table import Outputs, aten, emits


@emits(aten.max_pool2d_with_indices.default)
def max_pool(e: Emitter, out: Outputs, a: Value, kernel: Any, *arguments: Any) -> list[Value]:
    """The largest, and where in the whole tensor they stood (PyTorch: where in the plane).

    arguments: of `_Maxima`.
    """
    given = _Maxima(*arguments)
    attributes = _attributes(kernel, given.stride, given.padding, given.ceil_mode)
    return e.ops("MaxPool", [a], out, dilations=_pair(given.dilation), **attributes)


@emits(aten.max_pool2d_with_indices_backward.default)
def max_pool_backward(e: Emitter, out: Outputs, grad: Value, a: Value, *options: Any) -> Value:
    """The gradient added where the largest stood; windows overlap."""
    indices = options[-1]
    total = math.prod(a.shape)
    length = e.constant([total], torch.int64)
    zeros = e.op("Expand", [e.constant(0.0, torch.float32), length], (total,), torch.float32)
    count = (math.prod(grad.shape),)
    flat = [zeros, e.reshape(indices, count), e.reshape(grad, count)]
    sums = e.op("ScatterElements", flat, (total,), torch.float32, axis=0, reduction="add")
    return e.reshape(sums, a.shape)


@emits(aten.avg_pool2d.default)
def avg_pool(e: Emitter, out: Outputs, a: Value, kernel: Any, *arguments: Any) -> Value:
    """The mean of each window; arguments: of `_Averages`."""
    given = _Averages(*arguments)
    if given.divisor is not None:
        raise NotImplementedError("avg_pool2d with a divisor")
    attributes = _attributes(kernel, given.stride, given.padding, given.ceil_mode)
    counts = int(given.count_include_pad)
    return e.op("AveragePool", [a], *out[0], count_include_pad=counts, **attributes)


@emits(aten.avg_pool2d_backward.default)
def avg_pool_backward(
    e: Emitter, out: Outputs, grad: Value, a: Value, kernel: Any, *arguments: Any
) -> Value:
    """The gradient as that of a convolution of each channel with equal weights."""
    given, size = _Averages(*arguments), _pair(kernel)
    stride, padding = _pair(given.stride or size), _pair(given.padding)
    if (
        given.divisor is not None
        or given.ceil_mode
        or (any(padding) and not given.count_include_pad)
    ):
        raise NotImplementedError("the gradient of avg_pool2d with ceil_mode or a divisor")
    channels = a.shape[1]
    weight = e.constant(torch.full((channels, 1, *size), 1 / math.prod(size)))
    geometry = Geometry(stride, padding, (1, 1), False, (0, 0), channels)
    return input_gradient(e, grad, a.shape, weight, geometry)


@emits(channel_means)
def means_of_channels(e: Emitter, out: Outputs, u: Value, *weights: Value) -> Value:
    """A global pool, or convolutions of each channel along one axis and then the next: both stay in
    onnxruntime's blocks; reductions do not."""
    if not weights:
        return e.op("GlobalAveragePool", [u], *out[0])
    channels = u.shape[1]
    for axis, own in enumerate(weights, 2):
        known, kernel = e.known(own), [1 for _ in weights]
        assert known is not None
        kernel[axis - 2] = len(known)
        each = known.view(1, 1, *kernel).expand(channels, 1, *kernel)
        name = f"{AXIS_WEIGHTS}{own.name}_{'x'.join(str(side) for side in each.shape)}"
        left = (*u.shape[:axis], 1, *u.shape[axis + 1 :])
        u = e.op("Conv", [u, e.variable(name, each)], left, u.dtype, group=channels)
    return u


class _Maxima(NamedTuple):
    """Arguments of a max pool after its kernel, in the order of aten."""

    stride: Any = ()
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False


class _Averages(NamedTuple):
    """Arguments of an average pool after its kernel, in the order of aten."""

    stride: Any = ()
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None


def _attributes(kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> dict[str, Any]:
    """Attributes of ONNX's pools."""
    return {
        "kernel_shape": _pair(kernel),
        "strides": _pair(stride or kernel),
        "pads": _pair(padding) * 2,
        "ceil_mode": int(ceil_mode),
    }


def _pair(given: Sequence[int] | int) -> list[int]:
    """Numbers for two axes."""
    listed = [given] if isinstance(given, int) else list(given)
    return listed * 2 if len(listed) == 1 else listed
