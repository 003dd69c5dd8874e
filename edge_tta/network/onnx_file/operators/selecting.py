"""Parts of tensors: slices, gathers, and reorderings of pixels and channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.network.onnx_file.nodes import Given, Host, Node, Value, reads, tensor, whole

_LAST = 2**31 - 1


@reads("Slice")
def slices(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Ranges of axes, by steps."""

    def compute(
        x: Value, starts: Given, ends: Given, axes: Given = None, steps: Given = None
    ) -> Value:
        begin, end = whole(starts, node), whole(ends, node)
        places = list(range(len(begin))) if axes is None else whole(axes, node)
        by = [1] * len(begin) if steps is None else [int(s) for s in whole(steps, node)]
        for first, last, axis, step in zip(begin, end, places, by, strict=True):
            x = _part(x, int(axis), first, last, step)
        return x

    return compute


def _part(x: Value, axis: int, first: Any, last: Any, step: int) -> Value:
    if isinstance(last, int) and last > _LAST:
        last = _LAST
    if not isinstance(x, Tensor):
        index: list[Any] = [slice(None)] * x.ndim
        lowest = isinstance(last, int) and last < -_LAST
        index[axis] = slice(first, None if lowest else last, step)
        return np.asarray(x[tuple(index)])
    if step > 0:
        axis %= x.ndim
        part: Tensor = torch.ops.aten.slice.Tensor(x, axis, first, last, step)
        return part
    numbers = range(int(x.shape[axis]))[
        slice(first, None if last < -int(x.shape[axis]) else last, step)
    ]
    return torch.index_select(x, axis, torch.tensor(list(numbers), device=x.device))


@reads("Gather")
def gather(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Entries of an axis by their numbers."""
    axis = int(node.get("axis", 0))

    def compute(x: Value, indices: Value) -> Value:
        if not isinstance(x, Tensor) and not isinstance(indices, Tensor):
            taken = np.take(x, indices.astype(np.int64), axis)
            if isinstance(taken, np.ndarray):
                return taken
            made = np.empty((), x.dtype)
            made[()] = taken
            return made
        like = x if isinstance(x, Tensor) else indices
        assert isinstance(like, Tensor)
        data, place = tensor(x, like), axis % x.ndim
        if not isinstance(indices, Tensor) and indices.ndim == 0:
            return data.select(place, int(indices))
        numbers = tensor(indices, like).long()
        numbers = torch.where(numbers < 0, numbers + data.shape[place], numbers)
        taken_ = torch.index_select(data, place, numbers.reshape(-1))
        return taken_.reshape(*data.shape[:place], *numbers.shape, *data.shape[place + 1 :])

    return compute


@reads("GatherElements")
def gather_elements(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Entries by numbers of the same rank."""
    axis = int(node.get("axis", 0))
    return lambda x, indices: torch.gather(x, axis, tensor(indices, x).long())


@reads("DepthToSpace", "SpaceToDepth")
def depth_to_space(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Channels as blocks of pixels, or back."""
    block, mode = int(node.get("blocksize", 1)), node.get("mode", "DCR")

    def compute(x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        if node.operator == "SpaceToDepth":
            parts = x.reshape(n, channels, height // block, block, width // block, block)
            parts = parts.permute(0, 3, 5, 1, 2, 4)
            return parts.reshape(n, channels * block**2, height // block, width // block)
        if mode == "CRD":
            return functional.pixel_shuffle(x, block)
        parts = x.reshape(n, block, block, channels // block**2, height, width)
        parts = parts.permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, channels // block**2, height * block, width * block)

    return compute
