"""Frozen operations that keep nothing, or little, for the backward pass.

Each computes what PyTorch's own does. PyTorch keeps the input of a convolution for the gradient of
its weight, whether that is asked for or not; a frozen one needs its weight and the input's shape.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.network.lean_activations import Activation
from edge_tta.network.lean_codes import decode, dense, encode, layout_of, masked, pack

aten = torch.ops.aten


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """A convolution over one to three axes; keeps no input unless its weight trains."""
    axes = weight.ndim - 2
    settings = [_listed(value, axes) for value in (stride, padding, dilation)]
    trains = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trains or not (x.requires_grad and torch.is_grad_enabled()):
        return aten.convolution(  # type: ignore[no-any-return]
            x, weight, bias, *settings, False, [0] * axes, groups
        )
    if torch.is_autocast_enabled(x.device.type):
        narrow = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(narrow), weight.to(narrow)
        bias = None if bias is None else bias.to(narrow)
    return _Convolution.apply(x, weight, bias, *settings, groups)  # type: ignore[no-any-return]


class _Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
        groups: int,
    ) -> Tensor:
        zeros = [0] * len(stride)
        ctx.settings = stride, padding, dilation, False, zeros, groups
        ctx.shape, ctx.layout = x.shape, layout_of(x)
        ctx.save_for_backward(weight)
        return aten.convolution(x, weight, bias, *ctx.settings)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        # Memory that nobody touches costs nothing; only its shape is read.
        like = torch.empty(ctx.shape, dtype=g.dtype, device=g.device, memory_format=ctx.layout)
        mask = [True, False, False]
        found = aten.convolution_backward(g, like, weight, None, *ctx.settings, mask)
        return found[0], None, None, None, None, None, None


def pointwise(x: Tensor, activation: Activation, precision: str) -> Tensor:
    """An activation behind no BatchNorm: keeps a bit a value, or a code of its input."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return activation.apply(x.clone() if activation.cuts else x)
    return _Pointwise.apply(x, activation, precision)  # type: ignore[no-any-return]


class _Pointwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Activation, precision: str) -> Tensor:
        ctx.activation, ctx.layout = activation, layout_of(x)
        if activation.cuts:
            out = activation.apply(dense(x).clone(memory_format=torch.preserve_format))
            ctx.save_for_backward(pack(out, activation.upper))
            return out
        ctx.save_for_backward(*_code(x, precision))
        return activation.apply(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        g = g.contiguous(memory_format=ctx.layout)
        if ctx.activation.cuts:
            (bits,) = ctx.saved_tensors
            return masked(g, bits), None, None
        code, step = ctx.saved_tensors
        return ctx.activation.backward(g, decode(code, step, g.dtype)), None, None


def product(x: Tensor, y: Tensor, precision: str) -> Tensor:
    """x * y, as of a gate: keeps codes of the factors that the other's gradient needs."""
    needed = isinstance(x, Tensor) and isinstance(y, Tensor)
    if not (needed and torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)):
        return x * y
    if x.dtype != y.dtype or min(x.ndim, y.ndim) < 2:
        return x * y
    return _Product.apply(x, y, precision)  # type: ignore[no-any-return]


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, precision: str) -> Tensor:
        by_x, by_y = ctx.needs_input_grad[:2]
        nothing = x.new_empty(0)
        ctx.shapes = x.shape, y.shape
        ctx.save_for_backward(
            *(_code(y, precision) if by_x else (nothing, nothing)),
            *(_code(x, precision) if by_y else (nothing, nothing)),
        )
        return x * y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        y, y_step, x, x_step = ctx.saved_tensors
        by_x, by_y = ctx.needs_input_grad[:2]
        return (
            (g * decode(y, y_step, g.dtype)).sum_to_size(ctx.shapes[0]) if by_x else None,
            (g * decode(x, x_step, g.dtype)).sum_to_size(ctx.shapes[1]) if by_y else None,
            None,
        )


def max_pool2d(
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling that keeps the place of each maximum within its window, a byte each."""
    settings = pool_settings(kernel, stride, padding, dilation, ceil_mode)
    if not (x.requires_grad and torch.is_grad_enabled()) or math.prod(settings[0]) > 255:
        return aten.max_pool2d(x, *settings)  # type: ignore[no-any-return]
    return _MaxPool.apply(x, settings)  # type: ignore[no-any-return]


PoolSettings = tuple[list[int], list[int], list[int], list[int], bool]


def pool_settings(
    kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> PoolSettings:
    """Kernel, stride, padding and dilation over two axes, and the rounding of the size."""
    size = _listed(kernel, 2)
    return size, _listed(stride, 2) or size, _listed(padding, 2), _listed(dilation, 2), ceil_mode


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: PoolSettings) -> Tensor:
        out, where = aten.max_pool2d_with_indices(x, *settings)
        ctx.settings, ctx.shape, ctx.layout = settings, x.shape, layout_of(x)
        ctx.save_for_backward(places_in_windows(where, x.shape, settings))
        return out  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        return unpooled(g, places, ctx.shape, ctx.layout, ctx.settings), None


def places_in_windows(where: Tensor, shape: torch.Size, settings: PoolSettings) -> Tensor:
    """Flat indices (N, C, H', W') of maxima as places in their windows, uint8."""
    kernel, stride, padding, dilation, _ = settings
    rows, columns = _corners(where, stride, padding)
    row = (where // shape[3] - rows) // dilation[0]
    column = (where % shape[3] - columns) // dilation[1]
    return (row * kernel[1] + column).to(torch.uint8)


def unpooled(
    g: Tensor,
    places: Tensor,
    shape: torch.Size,
    layout: torch.memory_format,
    settings: PoolSettings,
) -> Tensor:
    """Gradient of max pooling by its input of `shape`."""
    kernel, stride, padding, dilation, _ = settings
    rows, columns = _corners(places, stride, padding)
    inside = places.to(torch.int64)
    row = rows + (inside // kernel[1]) * dilation[0]
    where = row * shape[3] + columns + (inside % kernel[1]) * dilation[1]
    like = torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=layout)
    where = where.contiguous(memory_format=layout)
    g = g.contiguous(memory_format=layout)
    found: Tensor = aten.max_pool2d_with_indices_backward(g, like, *settings, where)
    return found


def _corners(like: Tensor, stride: list[int], padding: list[int]) -> tuple[Tensor, Tensor]:
    """First row (H', 1) and column (W',) of each window."""
    rows = torch.arange(like.shape[2], device=like.device) * stride[0] - padding[0]
    columns = torch.arange(like.shape[3], device=like.device) * stride[1] - padding[1]
    return rows[:, None], columns


def avg_pool2d(x: Tensor, *settings: Any) -> Tensor:
    """Average pooling that keeps a shape."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return aten.avg_pool2d(x, *settings)  # type: ignore[no-any-return]
    return _AvgPool.apply(x, settings)  # type: ignore[no-any-return]


class _AvgPool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: tuple[Any, ...]) -> Tensor:
        ctx.settings, ctx.shape, ctx.layout = settings, x.shape, layout_of(x)
        return aten.avg_pool2d(x, *settings)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        defaults: tuple[Any, ...] = ([], 0, False, True, None)
        kernel, *given = ctx.settings
        rest = [*given, *defaults[len(given) :]]
        rest[0] = _listed(rest[0], 2) or _listed(kernel, 2)
        like = torch.empty(ctx.shape, dtype=g.dtype, device=g.device, memory_format=ctx.layout)
        padding = _listed(rest[1], 2)
        g = g.contiguous(memory_format=ctx.layout)
        found = aten.avg_pool2d_backward(g, like, _listed(kernel, 2), rest[0], padding, *rest[2:])
        return found, None


def _code(x: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """A code of any tensor; without channels to scale, or narrow already, it is kept as it is."""
    if x.ndim < 2 or x.dtype != torch.float32:
        return x, x.new_empty(0)
    return encode(x, precision, positive=False)


def _listed(value: Any, axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values
