"""Frozen convolutions, activations and products that save nothing, or little, for backward.

Each computes what PyTorch's own does. PyTorch keeps the input of a convolution for the gradient of
its weight, whether that is asked for or not; a frozen one needs its weight and the input's shape.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.network.lean.activations import Activation
from edge_tta.network.lean.codes import (
    Code,
    Precision,
    decode,
    dense,
    encode,
    layout_of,
    masked,
    pack,
)
from edge_tta.network.lean.pooling import listed

aten = torch.ops.aten


class _Settings(NamedTuple):
    """Arguments of a convolution after its bias, in the order of aten."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return a convolution over one to three axes; saves no input unless its weight trains."""
    axes = weight.ndim - 2
    stride, padding, dilation = (listed(value, axes) for value in (stride, padding, dilation))
    settings = _Settings(stride, padding, dilation, False, [0] * axes, groups)
    trains = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trains or not (x.requires_grad and torch.is_grad_enabled()):
        return aten.convolution(x, weight, bias, *settings)  # type: ignore[no-any-return]
    if torch.is_autocast_enabled(x.device.type):
        narrow = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(narrow), weight.to(narrow)
        bias = None if bias is None else bias.to(narrow)
    return _Convolution.apply(x, weight, bias, settings)  # type: ignore[no-any-return]


class _Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, settings: _Settings
    ) -> Tensor:
        ctx.settings, ctx.shape, ctx.layout = settings, x.shape, layout_of(x)
        ctx.save_for_backward(weight)
        return aten.convolution(x, weight, bias, *settings)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        # Memory that nobody touches costs nothing; only its shape is read.
        like = torch.empty(ctx.shape, dtype=g.dtype, device=g.device, memory_format=ctx.layout)
        mask = [True, False, False]
        dx = aten.convolution_backward(g, like, weight, None, *ctx.settings, mask)[0]
        return dx, None, None, None


def pointwise(x: Tensor, activation: Activation, precision: Precision) -> Tensor:
    """Return an activation behind no BatchNorm: saves a bit a value, or a code of its input."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return activation.apply(x.clone() if activation.clips else x)
    return _Pointwise.apply(x, activation, precision)  # type: ignore[no-any-return]


class _Pointwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Activation, precision: Precision) -> Tensor:
        ctx.activation, ctx.layout = activation, layout_of(x)
        if activation.clips:
            out = activation.apply(dense(x).clone(memory_format=torch.preserve_format))
            ctx.save_for_backward(pack(out, activation.upper))
            return out
        ctx.save_for_backward(*_code(x, precision))
        return activation.apply(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        g = g.contiguous(memory_format=ctx.layout)
        if ctx.activation.clips:
            (bits,) = ctx.saved_tensors
            return masked(g, bits), None, None
        x = decode(Code(*ctx.saved_tensors), g.dtype)
        return ctx.activation.backward(g, x), None, None


def product(x: Tensor, y: Tensor, precision: Precision) -> Tensor:
    """Return x * y, as of a gate: saves codes of the factors that the other's gradient needs."""
    needed = isinstance(x, Tensor) and isinstance(y, Tensor)
    if not (needed and torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)):
        return x * y
    if x.dtype != y.dtype or min(x.ndim, y.ndim) < 2:
        return x * y
    return _Product.apply(x, y, precision)  # type: ignore[no-any-return]


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, precision: Precision) -> Tensor:
        by_x, by_y, _ = ctx.needs_input_grad
        nothing = Code(x.new_empty(0), x.new_empty(0))
        ctx.shapes = x.shape, y.shape
        ctx.save_for_backward(
            *(_code(y, precision) if by_x else nothing),
            *(_code(x, precision) if by_y else nothing),
        )
        return x * y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        saved, (by_x, by_y, _) = ctx.saved_tensors, ctx.needs_input_grad
        dx = (g * decode(Code(*saved[:2]), g.dtype)).sum_to_size(ctx.shapes[0]) if by_x else None
        dy = (g * decode(Code(*saved[2:]), g.dtype)).sum_to_size(ctx.shapes[1]) if by_y else None
        return dx, dy, None


def _code(x: Tensor, precision: Precision) -> Code:
    """Any tensor's code; without channels to scale, or narrow already, it is kept as it is."""
    if x.ndim < 2 or x.dtype != torch.float32:
        return Code(x, x.new_empty(0))
    return encode(x, precision, positive=False)
