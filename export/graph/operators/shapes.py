"""Shapes: views, slices, joins, selections, and tensors that are made of a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from export.graph.emitter import Emitter, Value
from export.graph.operators.convolution import every
from export.graph.operators.table import Outputs, aten, emits


@emits(
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
)
def view(e: Emitter, out: Outputs, a: Value, *where: Any) -> Value:
    """The same elements in another shape."""
    return e.reshape(a, out[0][0])


@emits(aten.expand.default)
def expand(e: Emitter, out: Outputs, a: Value, size: Sequence[int], **options: Any) -> Value:
    """Repeated without a copy; ONNX copies."""
    shape, dtype = out[0]
    if a.shape == shape:
        return a
    return e.op("Expand", [a, e.constant(list(shape), torch.int64)], shape, dtype)


@emits(aten.permute.default)
def permute(e: Emitter, out: Outputs, a: Value, axes: Sequence[int]) -> Value:
    """Axes in another order."""
    return e.op("Transpose", [a], *out[0], perm=[axis % len(a.shape) for axis in axes])


@emits(aten.t.default)
def transposed(e: Emitter, out: Outputs, a: Value) -> Value:
    """A matrix, rows as columns."""
    return a if len(a.shape) < 2 else e.op("Transpose", [a], *out[0], perm=[1, 0])


@emits(aten.transpose.int)
def transpose(e: Emitter, out: Outputs, a: Value, one: int, other: int) -> Value:
    """Two axes exchanged."""
    order = list(range(len(a.shape)))
    order[one], order[other] = order[other], order[one]
    return e.op("Transpose", [a], *out[0], perm=order)


@emits(aten.cat.default)
def concatenate(e: Emitter, out: Outputs, parts: Sequence[Value], axis: int = 0) -> Value:
    """One after the other."""
    shape, dtype = out[0]
    filled = [e.cast(part, dtype) for part in parts if part.shape != (0,)]
    if len(filled) == 1:
        return filled[0]
    return e.op("Concat", filled, shape, dtype, axis=axis % len(shape))


@emits(aten.slice.Tensor)
def part(
    e: Emitter,
    out: Outputs,
    a: Value,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    """Slice along an axis: every step-th from start to end."""
    if a.shape == out[0][0] and step == 1:
        return a
    is_map = len(a.shape) == 4 and axis in (2, 3) and a.dtype == torch.float32
    if step > 1 and is_map and not start and out[0][0][axis] == -(-a.shape[axis] // step):
        return every(e, a, out[0][0], [step if place == axis else 1 for place in (2, 3)])
    last = np.iinfo(np.int64).max if end is None else end
    given = [e.constant([v], torch.int64) for v in (start or 0, last, axis, step)]
    return e.op("Slice", [a, *given], *out[0])


@emits(aten.select.int)
def select(e: Emitter, out: Outputs, a: Value, axis: int, index: int) -> Value:
    """One place along an axis, which is then gone."""
    return e.op("Gather", [a, e.constant(index, torch.int64)], *out[0], axis=axis % len(a.shape))


@emits(aten.split.Tensor, aten.split_with_sizes.default, aten.unbind.int, aten.chunk.default)
def split(e: Emitter, out: Outputs, a: Value, sizes: Any = None, axis: int = 0) -> list[Value]:
    """Parts along an axis."""
    if isinstance(sizes, int) and len(out[0][0]) < len(a.shape):  # unbind: the axis is meant
        axis, sizes = sizes, None
    if len(out[0][0]) < len(a.shape):
        axis %= len(a.shape)
        return [
            e.op("Gather", [a, e.constant(i, torch.int64)], shape, dtype, axis=axis)
            for i, (shape, dtype) in enumerate(out)
        ]
    if len(out) == 1:
        return [a]
    lengths = e.constant([shape[axis] for shape, _ in out], torch.int64)
    return e.ops("Split", [a, lengths], out, axis=axis % len(a.shape))


@emits(aten.index.Tensor)
def index(e: Emitter, out: Outputs, a: Value, places: Sequence[Value | None]) -> Value:
    """Places along one axis."""
    named = [(axis, place) for axis, place in enumerate(places) if place is not None]
    if len(named) != 1 or named[0][1].dtype not in (torch.int64, torch.int32):
        raise NotImplementedError("indexing along several axes, or by truths")
    axis, place = named[0]
    return _selected(e, out, a, axis, place)


@emits(aten.index_select.default)
def index_select(e: Emitter, out: Outputs, a: Value, axis: int, place: Value) -> Value:
    """Places along an axis."""
    return _selected(e, out, a, axis, place)


def _selected(e: Emitter, out: Outputs, a: Value, axis: int, place: Value) -> Value:
    if len(a.shape) == 1 and len(place.shape) == 1:
        # As fast as a copy; Gather is not.
        return e.op("GatherElements", [a, place], *out[0], axis=0)
    return e.op("Gather", [a, place], *out[0], axis=axis % max(1, len(a.shape)))


@emits(aten.gather.default)
def gather(e: Emitter, out: Outputs, a: Value, axis: int, place: Value, **options: Any) -> Value:
    """The element at each place."""
    return e.op("GatherElements", [a, place], *out[0], axis=axis % len(a.shape))


@emits(aten.segment_reduce.default)
def segment_means(
    e: Emitter,
    out: Outputs,
    a: Value,
    reduce: str,
    *,
    lengths: Value,
    axis: int = 0,
    **options: Any,
) -> Value:
    """Means of segments of a vector, whose lengths are constants."""
    counts = e.known(lengths)
    if reduce != "mean" or counts is None or len(a.shape) != 1:
        raise NotImplementedError("segment_reduce other than means of a vector's known segments")
    # Sums of equal shares of all segments first: adding one by one is slow.
    step = math.gcd(*counts.tolist())
    shape, places = (a.shape[0] // step,), torch.arange(len(counts))
    rows, columns = e.reshape(a, (*shape, step)), e.constant([1], torch.int64)
    shares = e.op("ReduceSum", [rows, columns], shape, a.dtype, keepdims=0)
    place = e.constant(places.repeat_interleave(counts // step))
    zeros = e.constant(torch.zeros(len(counts), dtype=a.dtype))
    given = [zeros, place, shares]
    total = e.op("ScatterElements", given, *out[0], axis=0, reduction="add")
    return e.op("Div", [total, e.constant(counts.to(a.dtype))], *out[0])


@emits(aten.slice_backward.default)
def slice_backward(
    e: Emitter,
    out: Outputs,
    grad: Value,
    shape: Sequence[int],
    axis: int,
    start: int,
    end: int,
    step: int,
) -> Value:
    """The gradient at its place among zeros."""
    axis %= len(shape)
    start = start + shape[axis] if start < 0 else start
    if step > 1:
        grad = spaced(e, grad, axis, step)
        if start + grad.shape[axis] > shape[axis]:  # zeros behind the last
            length = shape[axis] - start
            cut = [e.constant([v], torch.int64) for v in (0, length, axis)]
            size = tuple(length if i == axis else s for i, s in enumerate(grad.shape))
            grad = e.op("Slice", [grad, *cut], size, grad.dtype)
    return _among_zeros(e, out, grad, axis, start)


def interleaved(e: Emitter, parts: Sequence[Value], axis: int) -> Value:
    """The places of equal parts along an axis in turns."""
    shape, n = parts[0].shape, len(parts)
    wide = [e.reshape_constant(part, (*shape[: axis + 1], 1, *shape[axis + 1 :])) for part in parts]
    pair = (*shape[: axis + 1], n, *shape[axis + 1 :])
    joined = e.op("Concat", wide, pair, parts[0].dtype, axis=axis + 1)
    return e.reshape(joined, (*shape[:axis], shape[axis] * n, *shape[axis + 1 :]))


def spaced(e: Emitter, a: Value, axis: int, step: int) -> Value:
    """step - 1 zeros after each place of an axis. Joining zeros is much faster than padding."""
    zeros = e.constant(torch.zeros(a.shape, dtype=a.dtype))
    return interleaved(e, [a, *[zeros] * (step - 1)], axis)


@emits(aten.select_backward.default)
def select_backward(
    e: Emitter, out: Outputs, grad: Value, shape: Sequence[int], axis: int, index: int
) -> Value:
    """The gradient at its place among zeros."""
    axis %= len(shape)
    lead = [1 if i == axis else size for i, size in enumerate(shape)]
    return _among_zeros(e, out, e.reshape(grad, lead), axis, index % shape[axis])


@emits(aten.constant_pad_nd.default)
def pad(e: Emitter, out: Outputs, a: Value, amounts: Sequence[int], value: float = 0.0) -> Value:
    """Amounts (before, after) from the last axis on; negative ones cut."""
    begin, end = [0] * len(a.shape), [0] * len(a.shape)
    for i in range(len(amounts) // 2):
        begin[-1 - i], end[-1 - i] = amounts[2 * i], amounts[2 * i + 1]
    pads = e.constant([*begin, *end], torch.int64)
    return e.op("Pad", [a, pads, e.constant(value, a.dtype)], *out[0])


def _among_zeros(e: Emitter, out: Outputs, grad: Value, axis: int, start: int) -> Value:
    shape, dtype = out[0]
    begin, end = [0] * len(shape), [0] * len(shape)
    begin[axis] = start % shape[axis] if start < 0 else start
    end[axis] = shape[axis] - begin[axis] - grad.shape[axis]
    if not any(begin) and not any(end):
        return grad
    pads = e.constant([*begin, *end], torch.int64)
    return e.op("Pad", [grad, pads, e.constant(0.0, dtype)], shape, dtype)


@emits(
    aten.full_like.default,
    aten.full.default,
    aten.new_full.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.zeros.default,
    aten.ones.default,
    aten.scalar_tensor.default,
    aten.empty.memory_format,
    aten.new_empty.default,
    aten.empty_like.default,
    aten._efficientzerotensor.default,
)
def filled(e: Emitter, out: Outputs, *arguments: Any, **options: Any) -> Value:
    """Never called: tensors of one number are constants, see `export.graph.convert`."""
    raise AssertionError("a constant was not folded")
