"""Convolutions and what flows back through them.

The gradient by the input is a convolution again: with the kernel turned round where the stride is
one, and a transposed convolution elsewhere. The gradient by the weight is a convolution of the
input with the output's gradient, images and channels exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.table import Outputs, aten, emits


@emits(aten.convolution.default)
def convolution(
    e: Emitter,
    out: Outputs,
    a: Value,
    weight: Value,
    bias: Value | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Value:
    """Plain or transposed."""
    attributes: dict[str, Any] = dict(  # noqa: C408
        strides=list(stride), pads=[*padding, *padding], dilations=list(dilation), group=groups
    )
    inputs = [a, weight] if bias is None else [a, weight, bias]
    if not transposed:
        return e.op("Conv", inputs, *out[0], **attributes)
    return e.op("ConvTranspose", inputs, *out[0], output_padding=list(output_padding), **attributes)


@emits(aten.convolution_backward.default)
def convolution_backward(
    e: Emitter,
    out: Outputs,
    grad: Value,
    a: Value,
    weight: Value,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> list[Value | None]:
    """Gradients by the input, the weight and the bias, as far as wanted."""
    if transposed:
        raise NotImplementedError("the gradient of a transposed convolution")
    place = tuple(stride), tuple(padding), tuple(dilation), groups
    found: list[Value | None] = [None, None, None]
    if wanted[0]:
        found[0] = input_gradient(e, grad, a.shape, weight, *place)
    if wanted[1]:
        found[1] = weight_gradient(e, grad, a, weight.shape, *place)
    if wanted[2]:
        axes = e.constant([0, *range(2, len(grad.shape))], torch.int64)
        shape = (grad.shape[1],)
        found[2] = e.op("ReduceSum", [grad, axes], shape, grad.dtype, keepdims=0)
    return found


def input_gradient(
    e: Emitter,
    grad: Value,
    shape: tuple[int, ...],
    weight: Value,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Value:
    """Of a convolution whose input has that shape."""
    rest = [
        size + 2 * p - d * (k - 1) - 1 - s * (o - 1)
        for size, p, d, k, s, o in zip(
            shape[2:], padding, dilation, weight.shape[2:], stride, grad.shape[2:], strict=True
        )
    ]
    return e.op(
        "ConvTranspose",
        [grad, weight],
        shape,
        grad.dtype,
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=groups,
        output_padding=rest,
    )


def weight_gradient(
    e: Emitter,
    grad: Value,
    a: Value,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Value:
    """Of a convolution whose weight has that shape (C_out, C_in / groups, *kernel).

    Images take the place of input channels; input channels that of images, group by group.
    """
    n, spatial = a.shape[0], list(range(2, len(a.shape)))
    inner, outer = shape[1], shape[0] // groups
    # (N, G I, *s) -> (I, G N, *s): a group's kernels are its own output channels' gradients.
    left = e.reshape(a, (n, groups, inner, *a.shape[2:]))
    order = [2, 1, 0, *(axis + 1 for axis in spatial)]
    moved = (inner, groups, n, *a.shape[2:])
    left = e.op("Transpose", [left], moved, a.dtype, perm=order)
    left = e.reshape(left, (inner, groups * n, *a.shape[2:]))
    right = e.op(
        "Transpose", [grad], (grad.shape[1], n, *grad.shape[2:]), grad.dtype, perm=[1, 0, *spatial]
    )
    full = [
        (size + 2 * p - s * (o - 1) - 1) // d + 1
        for size, p, s, o, d in zip(
            a.shape[2:], padding, stride, grad.shape[2:], dilation, strict=True
        )
    ]
    found = e.op(
        "Conv",
        [left, right],
        (inner, groups * outer, *full),
        grad.dtype,
        strides=list(dilation),
        pads=[*padding, *padding],
        dilations=list(stride),
        group=groups,
    )
    if tuple(full) != shape[2:]:
        axes = list(spatial)
        given = [e.constant(v, torch.int64) for v in ([0] * len(axes), list(shape[2:]), axes)]
        found = e.op("Slice", [found, *given], (inner, groups * outer, *shape[2:]), grad.dtype)
    return e.op("Transpose", [found], shape, grad.dtype, perm=[1, 0, *spatial])
