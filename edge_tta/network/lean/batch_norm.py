"""BatchNorm with given statistics, and the activation behind it, saving one compact tensor.

y = (z - mean) / sqrt(variance + eps) * weight + bias, out = activation(y). Where the statistics are
constants, the gradients are

    dz = dy weight / sqrt(variance + eps),    dbias = sum dy,    dweight = sum dy x^,

and x^ = (y - bias) / weight, so a code of y is all that is saved: of an activation that clips, its
output, which is zero where it is off and no gradient comes. Behind an addition y is marked where
the activation is off. *Faint* channels, whose weight is so small against their bias that the
division would lose x^, hold a code of x^ itself in the same place.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.network.kernels import Normalisation
from edge_tta.network.lean.activations import IDENTITY, Activation
from edge_tta.network.lean.affine_gradients import affine_gradients
from edge_tta.network.lean.codes import (
    HALF_BYTE,
    Code,
    Precision,
    along,
    channel_sums,
    decode,
    decode_where_on,
    dense,
    encode,
    encode_where_on,
    layout_of,
    masked,
    pack,
)
from edge_tta.network.lean.fused import Fused
from edge_tta.network.lean.pooling import max_pool2d

aten = torch.ops.aten

LARGE_BIAS = 8.0
"""|bias| / |weight| from which a channel is faint: a code of y then holds too little of x^."""


def normalised(
    z: Tensor,
    norm: Normalisation,
    fused: Fused,
    precision: Precision,
    residual: Tensor | None = None,
) -> Tensor:
    """Return the BatchNorm of z (N, C, *spatial) with constant statistics, and what is fused.

    residual: of z's shape, added before an activation that clips.
    """
    given = [t for t in (z, norm.weight, norm.bias, residual) if t is not None]
    pool = fused.pool
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in given)):
        out = affine(z, norm, in_place=fused.in_place)
        out = fused.activation.apply(out if residual is None else out.add_(residual))
        return out if pool is None else aten.max_pool2d(out, *pool)
    if pool is not None and z.requires_grad:
        fused = fused._replace(pool=None)
        return max_pool2d(normalised(z, norm, fused, precision, residual), pool)
    return _Normalised.apply(  # type: ignore[no-any-return]
        z, norm.weight, norm.bias, residual, norm, fused, precision
    )


class _Saved(Enum):
    """Part of the output that is saved for backward."""

    NOTHING = auto()
    MASK = auto()
    VALUES = auto()
    VALUES_WHERE_ON = auto()


def _needed(activation: Activation, residual: Tensor | None, by_weight: bool) -> _Saved:
    if by_weight:
        return _Saved.VALUES if residual is None else _Saved.VALUES_WHERE_ON
    if activation.clips:
        return _Saved.MASK
    return _Saved.NOTHING if activation == IDENTITY else _Saved.VALUES


class _Normalised(Function):
    """A pool is here only where no gradient by z is asked for: the maxima alone are then saved."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        residual: Tensor | None,
        norm: Normalisation,
        fused: Fused,
        precision: Precision,
    ) -> Tensor:
        activation, by_weight = fused.activation, ctx.needs_input_grad[1]
        ctx.activation, ctx.layout = activation, layout_of(z)
        ctx.saved = _needed(activation, residual, by_weight)
        z = dense(z.detach())
        scale = torch.rsqrt(norm.variance + norm.eps)
        nothing = z.new_empty(0)
        faint = _faint_channels(weight, bias) if by_weight else None
        ctx.channels = channels = None if faint is None else faint.channels
        x = None if channels is None else _x_hat(z, norm.mean, scale, channels)
        y = affine(z, norm, in_place=fused.in_place)
        out = activation.apply(y if residual is None else y + residual)
        if fused.pool is not None:
            out, where = aten.max_pool2d_with_indices(out, *fused.pool)
            if x is not None:
                x = x.flatten(2).gather(2, where[:, channels].flatten(2))
                x = x.view(*x.shape[:2], *out.shape[2:])
        code, faint_step = Code(nothing, nothing), nothing
        if ctx.saved is _Saved.MASK:
            code = Code(pack(out, activation.upper), nothing)
        elif ctx.saved is _Saved.VALUES_WHERE_ON:
            code = encode_where_on(y, out, precision)
        elif ctx.saved is _Saved.VALUES:
            clips, bounded = activation.clips, activation.upper is not None
            values = out if clips else y
            code = encode(values, precision, positive=clips, bounded=bounded)
            if x is not None and code.values is values:
                code = code._replace(values=values.clone())
        if x is not None and faint is not None:
            on = out[:, channels] > 0 if ctx.saved is _Saved.VALUES_WHERE_ON else None
            faint_step = _write(code, x, faint, on)
        which = nothing if faint is None else faint.which
        ctx.save_for_backward(weight, bias, scale, *code, which, faint_step)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, scale, values, step, faint, faint_step = ctx.saved_tensors
        channels = ctx.channels
        by_z, by_weight, by_bias, by_residual = ctx.needs_input_grad[:4]
        code = Code(values, step)
        g = g.contiguous(memory_format=ctx.layout)
        x = y = None
        if ctx.saved is _Saved.NOTHING:
            dy = g
        elif ctx.saved is _Saved.MASK:
            dy = masked(g, code.values)
        else:
            where_on = ctx.saved is _Saved.VALUES_WHERE_ON
            y, g = decode_where_on(code, g) if where_on else (decode(code, scale.dtype), g)
            if channels is not None:
                x = _read(code, channels, faint_step, scale.dtype)
                y = y.clone() if y is code.values else y
                again = x * along(weight[channels], x)
                again = again if bias is None else again + along(bias[channels], x)
                if ctx.activation.clips and not where_on:
                    again = again.clamp(0, ctx.activation.upper)
                y[:, channels] = torch.where(along(faint, y), again, y[:, channels])
            dy = g if where_on else ctx.activation.backward(g, y)
        dresidual = dy if by_residual else None
        scaled = scale if weight is None else scale * weight
        if not by_weight:
            dz = dy * along(scaled, dy) if by_z else None
            return dz, None, channel_sums(dy) if by_bias else None, dresidual, None, None, None
        assert y is not None
        centre = torch.zeros_like(scale) if bias is None else bias
        dz, dweight, dbias = affine_gradients(dy, y, scaled, centre, by_x=by_z)
        dweight = dweight / weight
        if x is not None:
            own = channel_sums(dy[:, channels] * x)
            dweight[channels] = torch.where(faint, own, dweight[channels])
        return dz, dweight, dbias if by_bias else None, dresidual, None, None, None


def affine(z: Tensor, norm: Normalisation, *, in_place: bool = False) -> Tensor:
    """Return z normalised with constant statistics.

    in_place: in z's memory, where that is faster.
    """
    mean, variance, weight, bias, eps = norm
    if z.is_cuda or layout_of(z) is torch.contiguous_format:
        return torch.batch_norm(z, weight, bias, mean, variance, False, 0.0, eps, False)
    # Half the time of PyTorch's own kernel, and a tensor less.
    scale = torch.rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else torch.addcmul(bias, mean, scale, value=-1)
    into = z if in_place else torch.empty_like(z)
    return torch.addcmul(along(shift, z), z, along(scale, z), out=into)


class _Faint(NamedTuple):
    """Channels, F of them, and which of these are faint, (F,).

    On a CPU those alone; on CUDA, where to count them is to wait for the device, all.
    """

    channels: Tensor | slice
    which: Tensor


def _faint_channels(weight: Tensor | None, bias: Tensor | None) -> _Faint | None:
    """Return the faint channels; None: there are none."""
    assert weight is not None
    if weight.is_cuda:
        bound = 0.0 if bias is None else bias.detach().abs()
        return _Faint(slice(None), LARGE_BIAS * weight.detach().abs() <= bound)
    # A fifth of the time, once for each layer of each frame.
    gamma = np.abs(weight.detach().numpy())
    bounds = 0.0 if bias is None else np.abs(bias.detach().numpy())
    channels = torch.from_numpy(np.flatnonzero(gamma * LARGE_BIAS <= bounds))
    return _Faint(channels, torch.ones_like(channels, dtype=torch.bool)) if len(channels) else None


def _x_hat(z: Tensor, mean: Tensor, scale: Tensor, channels: Tensor | slice) -> Tensor:
    part = z[:, channels]
    return (part - along(mean[channels], part)) * along(scale[channels], part)


def _write(code: Code, x: Tensor, faint: _Faint, on: Tensor | None) -> Tensor:
    """Writes x^ of faint channels into a code, zero where it is not on; returns their step."""
    written = Code(x, x.new_empty(0))
    if not code.values.is_floating_point():
        written = encode(x, Precision.INT8, positive=False)
    values = written.values
    if code.values.dtype == torch.uint8:
        values = (values.to(torch.int16) + HALF_BYTE).to(torch.uint8)
    values = (values if on is None else values * on).to(code.values.dtype)
    others = code.values[:, faint.channels]
    code.values[:, faint.channels] = torch.where(along(faint.which, x), values, others)
    return written.step


def _read(code: Code, channels: Tensor | slice, step: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what `_write` wrote."""
    values = code.values[:, channels].to(dtype)
    if code.values.is_floating_point():
        return values
    if code.values.dtype == torch.uint8:
        values -= HALF_BYTE
    return values * along(step.to(dtype), values)
