"""Max pools that save a byte a window for the backward pass."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.network.lean.codes import layout_of

aten = torch.ops.aten


class MaxPool(NamedTuple):
    """Arguments of a max pool over two axes, in the order of aten."""

    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    ceil_mode: bool


def max_pool_of(
    kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> MaxPool:
    """Return the settings that PyTorch reads from such arguments."""
    size = listed(kernel, 2)
    stride = listed(stride, 2) or size
    return MaxPool(size, stride, listed(padding, 2), listed(dilation, 2), ceil_mode)


def max_pool2d(x: Tensor, pool: MaxPool) -> Tensor:
    """Return the maxima; saves the place of each within its window, a byte each."""
    if not (x.requires_grad and torch.is_grad_enabled()) or math.prod(pool.kernel) > 255:
        return aten.max_pool2d(x, *pool)  # type: ignore[no-any-return]
    return _MaxPool.apply(x, pool)  # type: ignore[no-any-return]


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: MaxPool) -> Tensor:
        out, where = aten.max_pool2d_with_indices(x, *pool)
        ctx.pool, ctx.shape, ctx.layout = pool, x.shape, layout_of(x)
        rows, columns = _corners(where, pool)
        row = (where // x.shape[3] - rows) // pool.dilation[0]
        column = (where % x.shape[3] - columns) // pool.dilation[1]
        ctx.save_for_backward((row * pool.kernel[1] + column).to(torch.uint8))
        return out  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        pool: MaxPool = ctx.pool
        rows, columns = _corners(places, pool)
        inside = places.to(torch.int64)
        row = rows + (inside // pool.kernel[1]) * pool.dilation[0]
        where = row * ctx.shape[3] + columns + (inside % pool.kernel[1]) * pool.dilation[1]
        where = where.contiguous(memory_format=ctx.layout)
        like = torch.empty(ctx.shape, dtype=g.dtype, device=g.device, memory_format=ctx.layout)
        g = g.contiguous(memory_format=ctx.layout)
        return aten.max_pool2d_with_indices_backward(g, like, *pool, where), None


def _corners(like: Tensor, pool: MaxPool) -> tuple[Tensor, Tensor]:
    """First row (H', 1) and column (W',) of each window of outputs (N, C, H', W')."""
    rows = torch.arange(like.shape[2], device=like.device) * pool.stride[0] - pool.padding[0]
    columns = torch.arange(like.shape[3], device=like.device) * pool.stride[1] - pool.padding[1]
    return rows[:, None], columns


def listed(value: Any, axes: int) -> list[int]:
    """Return an integer, or one or more in a sequence, as one for each of so many axes."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values
