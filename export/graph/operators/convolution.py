"""Convolutions and what flows back through them.

The gradient by the input is a convolution again: with the kernel turned round where the stride is
one, several with parts of the kernel where a depthwise one strides, and a transposed convolution
elsewhere. The gradient by the weight is a convolution of the input with the output's gradient,
images and channels exchanged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.shapes import interleaved, spaced
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
    # A folded convolution takes up its activation, and its neighbours are blocks too.
    is_folded = e.folds and e.style == "fast" and (bias is None or e.known(bias) is not None)
    if _is_product(e, a, weight, padding, groups) and not transposed and not is_folded:
        return _product(e, out, _every(e, a, out[0][0], stride), weight, bias)
    if not transposed:
        return e.op("Conv", inputs, *out[0], **attributes)
    return e.op("ConvTranspose", inputs, *out[0], output_padding=list(output_padding), **attributes)


# With fewer positions the blocks of Conv are faster than a product of matrices.
_FEW_POSITIONS = 100


def _is_product(e: Emitter, a: Value, weight: Value, padding: Sequence[int], groups: int) -> bool:
    """Whether a convolution is to be a product of matrices: pointwise, of one image."""
    pointwise = set(weight.shape[2:]) == {1} and not any(padding) and groups == 1
    if not pointwise or a.shape[0] != 1 or e.style == "plain":
        return False
    return e.style == "compact" or not 1 < math.prod(a.shape[2:]) < _FEW_POSITIONS


def _every(e: Emitter, a: Value, shape: tuple[int, ...], stride: Sequence[int]) -> Value:
    """Every stride-th position. A pool over one position is faster than a slice."""
    if set(stride) == {1}:
        return a
    kept = (*a.shape[:2], *shape[2:])
    return e.op(
        "MaxPool", [a], kept, a.dtype, kernel_shape=[1 for _ in stride], strides=list(stride)
    )


def _product(e: Emitter, out: Outputs, a: Value, weight: Value, bias: Value | None) -> Value:
    """Pointwise, of one image: W (C_out, C_in) times (C_in, positions).

    As fast as Conv, and the weight is used where it is: Conv has it repacked into blocks, and
    whatever stands around is converted to blocks and back.
    """
    (shape, dtype), positions = out[0], math.prod(a.shape[2:])
    matrix = e.reshape_constant(weight, (weight.shape[0], weight.shape[1]))
    columns = e.reshape(a, (a.shape[1], positions))
    inputs = [matrix, columns]
    if bias is not None:
        inputs.append(e.reshape_constant(bias, (bias.shape[0], 1)))
    kind = "MatMul" if bias is None else "Gemm"
    found = e.op(kind, inputs, (weight.shape[0], positions), dtype)
    return e.reshape(found, shape)


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
    kernel = weight.shape[2:]
    if _is_product(e, grad, weight, padding, groups) and _tiles(grad, shape, stride):
        matrix = e.reshape_constant(weight, (weight.shape[0], weight.shape[1]))
        positions = math.prod(grad.shape[2:])
        columns = e.reshape(grad, (grad.shape[1], positions))
        size = (weight.shape[1], positions)
        found = e.op("Gemm", [matrix, columns], size, grad.dtype, transA=1)
        found = e.reshape(found, (1, weight.shape[1], *grad.shape[2:]))
        for i, s in enumerate(stride):
            found = spaced(e, found, 2 + i, s) if s > 1 else found
        return found
    is_depthwise = groups == grad.shape[1] == shape[1]
    values = e.known(weight) if is_depthwise or e.style == "fast" else None
    if values is not None and is_depthwise and set(dilation) == {1} and set(stride) != {1}:
        by_phase = _by_phase(e, grad, shape, values, stride, padding, groups)
        if by_phase is not None:
            return by_phase
    reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    if values is not None and min(reach) >= 0 and (is_depthwise or set(stride) == {1}):
        wide = grad
        for i, s in enumerate(stride):
            wide = spaced(e, wide, 2 + i, s) if s > 1 else wide
        # What the input has beyond the last window, less the zeros behind the last gradient.
        ends = [
            size - (g + before - d * (k - 1))
            for size, g, before, d, k in zip(
                shape[2:], wide.shape[2:], reach, dilation, kernel, strict=True
            )
        ]
        if min(ends) >= 0:
            return e.op(
                "Conv",
                [wide, e.constant(_turned(values, groups))],
                shape,
                grad.dtype,
                strides=[1 for _ in kernel],
                pads=[*reach, *ends],
                dilations=list(dilation),
                group=groups,
            )
    rest = [
        size + 2 * p - d * (k - 1) - 1 - s * (o - 1)
        for size, p, d, k, s, o in zip(
            shape[2:], padding, dilation, kernel, stride, grad.shape[2:], strict=True
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


def _tiles(grad: Value, shape: tuple[int, ...], stride: Sequence[int]) -> bool:
    """Whether the input is as long as the output with the steps between filled."""
    return all(o * s == size for o, s, size in zip(grad.shape[2:], stride, shape[2:], strict=True))


def _turned(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """The kernel turned round, input and output channels exchanged within each group."""
    axes = tuple(range(3, weight.ndim + 1))
    split = weight.reshape(groups, -1, *weight.shape[1:])
    return split.transpose(1, 2).flip(axes).flatten(0, 1)


def _by_phase(
    e: Emitter,
    grad: Value,
    shape: tuple[int, ...],
    weight: torch.Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    groups: int,
) -> Value | None:
    """Of a convolution with a stride s: places of the input that are equal modulo s meet the same
    taps of the kernel, every s-th, so each such phase is a small convolution of the gradient, which
    takes 0.8 of the time of one over the gradient with zeros between. Where channels mix, it is no
    faster than a transposed convolution.

    None: the stride does not divide the input, or a phase would need less than no padding.
    """
    axes = [
        [_phase(r, s, *rest) for r in range(s)]
        for s, *rest in zip(
            stride, padding, weight.shape[2:], shape[2:], grad.shape[2:], strict=True
        )
    ]
    ends = [end for axis in axes for _, pads in axis for end in pads]
    if min(ends) < 0 or any(size % s for size, s in zip(shape[2:], stride, strict=True)):
        return None
    size = (*shape[:2], *(length // s for length, s in zip(shape[2:], stride, strict=True)))
    phases = []
    for chosen in itertools.product(*axes):
        taps = weight[(slice(None), slice(None), *(part for part, _ in chosen))]
        begins, stops = zip(*(pads for _, pads in chosen), strict=True)
        kernel = e.constant(_turned(taps, groups))
        pads = [*begins, *stops]
        phases.append(e.op("Conv", [grad, kernel], size, grad.dtype, pads=pads, group=groups))
    for axis in range(len(size) - 1, 1, -1):
        s = stride[axis - 2]
        if s > 1:
            phases = [interleaved(e, phases[i : i + s], axis) for i in range(0, len(phases), s)]
    return phases[0]


def _phase(
    r: int, stride: int, padding: int, kernel: int, length: int, outputs: int
) -> tuple[slice, tuple[int, int]]:
    """Along one axis: the taps that reach the places r, r + stride, ... of the input, and the
    padding of the gradient before and behind; below zero: there are none, or too much is there."""
    first = (r + padding) % stride
    taps = len(range(first, kernel, stride))
    before = taps - 1 - (r + padding - first) // stride if taps else -1
    return slice(first, None, stride), (before, length // stride - outputs - before + taps - 1)


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
