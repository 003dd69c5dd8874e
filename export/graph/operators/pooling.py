"""Pooling and what flows back through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.convolution import input_gradient
from export.graph.operators.table import Outputs, aten, emits


@emits(aten.max_pool2d_with_indices.default)
def max_pool(
    e: Emitter,
    out: Outputs,
    a: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> list[Value]:
    """The largest, and where in the whole tensor they stood (PyTorch: where in the plane)."""
    kernel, stride, padding, dilation = _pairs(kernel, stride or kernel, padding, dilation)
    return e.ops(
        "MaxPool",
        [a],
        out,
        kernel_shape=kernel,
        strides=stride,
        pads=[*padding, *padding],
        dilations=dilation,
        ceil_mode=int(ceil_mode),
    )


@emits(aten.max_pool2d_with_indices_backward.default)
def max_pool_backward(e: Emitter, out: Outputs, grad: Value, a: Value, *options: Any) -> Value:
    """The gradient added where the largest stood; windows overlap."""
    indices = options[-1]
    total = math.prod(a.shape)
    zeros = e.op(
        "Expand",
        [e.constant(0.0, torch.float32), e.constant([total], torch.int64)],
        (total,),
        torch.float32,
    )
    count = (math.prod(grad.shape),)
    flat = [zeros, e.reshape(indices, count), e.reshape(grad, count)]
    found = e.op("ScatterElements", flat, (total,), torch.float32, axis=0, reduction="add")
    return e.reshape(found, a.shape)


@emits(aten.avg_pool2d.default)
def avg_pool(
    e: Emitter,
    out: Outputs,
    a: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Value:
    """The mean of each window."""
    kernel, stride, padding = _pairs(kernel, stride or kernel, padding)
    if divisor is not None:
        raise NotImplementedError("avg_pool2d with a divisor")
    return e.op(
        "AveragePool",
        [a],
        *out[0],
        kernel_shape=kernel,
        strides=stride,
        pads=[*padding, *padding],
        ceil_mode=int(ceil_mode),
        count_include_pad=int(count_include_pad),
    )


@emits(aten.avg_pool2d_backward.default)
def avg_pool_backward(
    e: Emitter,
    out: Outputs,
    grad: Value,
    a: Value,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Value:
    """As of a convolution of each channel with equal weights."""
    kernel, stride, padding = _pairs(kernel, stride or kernel, padding)
    if divisor is not None or ceil_mode or (any(padding) and not count_include_pad):
        raise NotImplementedError("the gradient of avg_pool2d with ceil_mode or a divisor")
    channels = a.shape[1]
    weight = e.constant(torch.full((channels, 1, *kernel), 1 / math.prod(kernel)))
    place = tuple(stride), tuple(padding), (1, 1), channels
    return input_gradient(e, grad, a.shape, weight, *place)


def _pairs(*given: Sequence[int] | int) -> list[list[int]]:
    """Each as two numbers."""
    pairs = []
    for values in given:
        listed = [values] if isinstance(values, int) else list(values)
        pairs.append(listed * 2 if len(listed) == 1 else listed)
    return pairs
