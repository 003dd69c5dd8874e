"""Operations with fixed weights that save nothing, or little, for the backward pass.

Each computes what PyTorch's own does. PyTorch keeps the input of a convolution for the gradient of
its weight, whether that is asked for or not; a fixed one needs its weight and the input's shape.
"""

from __future__ import annotations

from typing import Any

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
    sizes = [listed(value, axes) for value in (stride, padding, dilation)]
    settings = (*sizes, False, [0] * axes, groups)
    trains = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trains or not (x.requires_grad and torch.is_grad_enabled()):
        return aten.convolution(x, weight, bias, *settings)  # type: ignore[no-any-return]
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    with saving_its_shape(x):
        return aten.convolution(x, weight, bias, *settings)  # type: ignore[no-any-return]


def avg_pool2d(x: Tensor, *settings: Any) -> Tensor:
    """Return the averages; saves no input."""
    with saving_its_shape(x):
        return aten.avg_pool2d(x, *settings)  # type: ignore[no-any-return]


def saving_its_shape(x: Tensor) -> torch.autograd.graph.saved_tensors_hooks:
    """Context in which operations save the shape of x, whose values their gradients do not need."""
    address, shape, dtype, device = x.data_ptr(), x.shape, x.dtype, x.device
    layout = layout_of(x)

    def pack(value: Tensor) -> Tensor | None:
        return None if value.data_ptr() == address and value.shape == shape else value

    def unpack(saved: Tensor | None) -> Tensor:
        if saved is not None:
            return saved
        # Memory that nobody touches costs nothing.
        return torch.empty(shape, dtype=dtype, device=device, memory_format=layout)

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


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
            *(_code(y, precision) if by_x else nothing), *(_code(x, precision) if by_y else nothing)
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
    """Return any tensor's code; itself without channels to scale, or where not float32."""
    if x.ndim < 2 or x.dtype != torch.float32:
        return Code(x, x.new_empty(0))
    return encode(x, precision, positive=False)
