"""Gradients of convolutions.

The gradient by the input is a convolution again: with the kernel flipped where the stride is one,
several with parts of the kernel where a depthwise one strides, and a transposed convolution
elsewhere. The gradient by the weight is a convolution of the input with the output's gradient,
images and channels exchanged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.convolution import Geometry, is_product, matrices
from export.graph.operators.shapes import interleaved, spaced
from export.graph.operators.table import Outputs, aten, emits

# Bytes of a kernel up to which onnxruntime flips it when it loads the graph. The copy of a larger
# one is in the file, which can be mapped.
_FLIPPED_AT_LOAD = 1 << 19


@emits(aten.convolution_backward.default)
def convolution_backward(
    e: Emitter, out: Outputs, grad: Value, a: Value, weight: Value, bias_sizes: Any, *arguments: Any
) -> list[Value | None]:
    """Gradients by the input, the weight and the bias, as far as wanted.

    arguments: of `Geometry`, then which are wanted.
    """
    *rest, wanted = arguments
    geometry = Geometry(*rest)
    gradients: list[Value | None] = [None, None, None]
    if geometry.transposed:
        if wanted[1]:
            raise NotImplementedError("the gradient of a transposed convolution's weight")
        if wanted[0]:  # what it is the transpose of
            gradients[0] = e.op("Conv", [grad, weight], a.shape, a.dtype, **geometry.attributes())
    elif wanted[0]:
        gradients[0] = input_gradient(e, grad, a.shape, weight, geometry)
    if wanted[1]:
        gradients[1] = weight_gradient(e, grad, a, weight.shape, geometry)
    if wanted[2]:
        axes = e.constant([0, *range(2, len(grad.shape))], torch.int64)
        gradients[2] = e.op("ReduceSum", [grad, axes], grad.shape[1:2], grad.dtype, keepdims=0)
    return gradients


def input_gradient(
    e: Emitter, grad: Value, shape: tuple[int, ...], weight: Value, geometry: Geometry
) -> Value:
    """Return the gradient by an input of that shape."""
    stride, padding, dilation, *_, groups = geometry
    kernel = weight.shape[2:]
    if is_product(e, grad, weight, geometry) and _tiles(grad, shape, stride):
        given = matrices(e, weight, grad)
        size = (weight.shape[1], given[1].shape[1])
        flat = e.op("Gemm", given, size, grad.dtype, transA=1)
        return _spaced(e, e.reshape(flat, (1, weight.shape[1], *grad.shape[2:])), stride)
    is_depthwise = groups == grad.shape[1] == shape[1]
    values = e.known(weight) if is_depthwise or e.style == "fast" else None
    if values is not None and is_depthwise and set(dilation) == {1} and set(stride) != {1}:
        by_phase = _by_phase(e, grad, shape, values, geometry)
        if by_phase is not None:
            return by_phase
    reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    if values is not None and min(reach) >= 0 and (is_depthwise or set(stride) == {1}):
        wide = _spaced(e, grad, stride)
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
                [wide, _flipped_kernel(e, weight, values, groups)],
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
    attributes = geometry.attributes()
    given = [grad, weight]
    return e.op("ConvTranspose", given, shape, grad.dtype, output_padding=rest, **attributes)


def _tiles(grad: Value, shape: tuple[int, ...], stride: Sequence[int]) -> bool:
    """Return whether the input is as long as the output with the steps between filled."""
    return all(o * s == size for o, s, size in zip(grad.shape[2:], stride, shape[2:], strict=True))


def _spaced(e: Emitter, grad: Value, stride: Sequence[int]) -> Value:
    """The gradient with zeros between, as far as the convolution strides."""
    for axis, step in enumerate(stride, 2):
        grad = spaced(e, grad, axis, step) if step > 1 else grad
    return grad


def _flipped_kernel(e: Emitter, weight: Value, values: torch.Tensor, groups: int) -> Value:
    """The kernel flipped, whose numbers are known; a small one is not stored a second time."""
    if groups > 1 or values.nbytes > _FLIPPED_AT_LOAD:
        return e.constant(_flipped(values, groups))
    swapped = (weight.shape[1], weight.shape[0], *weight.shape[2:])
    axes = list(range(2, len(swapped)))
    moved = e.op("Transpose", [weight], swapped, weight.dtype, perm=[1, 0, *axes])
    ends = [[-1 for _ in axes], [-size - 1 for size in swapped[2:]], axes, [-1 for _ in axes]]
    cut = [e.constant(values, torch.int64) for values in ends]
    return e.op("Slice", [moved, *cut], swapped, weight.dtype)


def _flipped(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """The kernel flipped, input and output channels exchanged within each group."""
    axes = tuple(range(3, weight.ndim + 1))
    split = weight.reshape(groups, -1, *weight.shape[1:])
    return split.transpose(1, 2).flip(axes).flatten(0, 1)


def _by_phase(
    e: Emitter, grad: Value, shape: tuple[int, ...], weight: torch.Tensor, geometry: Geometry
) -> Value | None:
    """The gradient where the stride is s: places of the input that are equal modulo s meet the same
    taps of the kernel, every s-th, so each such phase is a small convolution of the gradient, which
    takes 0.8 of the time of one over the gradient with zeros between. Where channels mix, it is no
    faster than a transposed convolution.

    None: the stride does not divide the input, or a phase would need less than no padding.
    """
    stride = geometry.stride
    axes = [
        [_phase(r, s, *rest) for r in range(s)]
        for s, *rest in zip(
            stride, geometry.padding, weight.shape[2:], shape[2:], grad.shape[2:], strict=True
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
        given = [grad, e.constant(_flipped(taps, geometry.groups))]
        pads, group = [*begins, *stops], geometry.groups
        phases.append(e.op("Conv", given, size, grad.dtype, pads=pads, group=group))
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
    e: Emitter, grad: Value, a: Value, shape: tuple[int, ...], geometry: Geometry
) -> Value:
    """Return the gradient by a weight of shape (C_out, C_in / groups, *kernel).

    Images take the place of input channels; input channels that of images, group by group.
    """
    stride, padding, dilation, *_, groups = geometry
    n, spatial = a.shape[0], list(range(2, len(a.shape)))
    inner = shape[1]
    # (N, G I, *s) -> (I, G N, *s): a group's kernels are its own output channels' gradients.
    left = e.reshape(a, (n, groups, inner, *a.shape[2:]))
    order = [2, 1, 0, *(axis + 1 for axis in spatial)]
    moved = (inner, groups, n, *a.shape[2:])
    left = e.op("Transpose", [left], moved, a.dtype, perm=order)
    left = e.reshape(left, (inner, groups * n, *a.shape[2:]))
    swap = [1, 0, *spatial]
    right = e.op("Transpose", [grad], (grad.shape[1], n, *grad.shape[2:]), grad.dtype, perm=swap)
    full = [
        (size + 2 * p - s * (o - 1) - 1) // d + 1
        for size, p, s, o, d in zip(
            a.shape[2:], padding, stride, grad.shape[2:], dilation, strict=True
        )
    ]
    exchanged = geometry._replace(stride=dilation, dilation=stride).attributes()
    kernels = e.op("Conv", [left, right], (inner, shape[0], *full), grad.dtype, **exchanged)
    if tuple(full) != shape[2:]:
        ends = ([0] * len(spatial), list(shape[2:]), spatial)
        given = [e.constant(v, torch.int64) for v in ends]
        size = (inner, shape[0], *shape[2:])
        kernels = e.op("Slice", [kernels, *given], size, grad.dtype)
    return e.op("Transpose", [kernels], shape, grad.dtype, perm=swap)
