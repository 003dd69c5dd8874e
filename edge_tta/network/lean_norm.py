"""BatchNorm with given statistics, and the activation behind it, keeping one compact tensor.

y = (z - mean) / sqrt(variance + eps) * weight + bias, out = activation(y). Where the statistics are
constants, the gradients are

    dz = dy weight / sqrt(variance + eps),    dbias = sum dy,    dweight = sum dy x^,

and x^ = (y - bias) / weight, so a code of y is all that is kept: of an activation that cuts, its
output, which is zero where it is off and no gradient comes. Behind an addition y is marked where
the activation is off. Channels whose weight is small against their bias, where that division would
lose x^, keep a code of x^ itself in the same place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.network.lean_activations import Activation
from edge_tta.network.lean_codes import (
    HALF_BYTE,
    along,
    decode,
    decode_on,
    dense,
    encode,
    encode_on,
    layout_of,
    masked,
    pack,
)
from edge_tta.network.lean_operations import PoolSettings, places_in_windows, unpooled

aten = torch.ops.aten

IDENTITY = Activation("identity")
LARGE_BIAS = 8.0
"""|bias| / |weight| from which x^ is kept itself: a code of y then holds too little of it."""


def normalised(
    z: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    activation: Activation | None,
    pool: PoolSettings | None,
    precision: str,
    residual: Tensor | None = None,
    *,
    own: bool = False,
) -> Tensor:
    """The BatchNorm of z (N, C, *spatial) with constant statistics (C,), then what follows it.

    residual: of z's shape, added before an activation that cuts. own: nothing else reads z, whose
    memory then holds the result.
    """
    acts = activation or IDENTITY
    given = [t for t in (z, weight, bias, residual) if t is not None]
    if torch.is_grad_enabled() and any(t.requires_grad for t in given):
        return _Normalised.apply(  # type: ignore[no-any-return]
            z, weight, bias, residual, mean, variance, eps, acts, pool, precision, own
        )
    out = affine(z, weight, bias, mean, variance, eps, own=own)
    out = out if residual is None else out.add_(residual)
    out = out if acts is IDENTITY else acts.apply(out)
    return out if pool is None else aten.max_pool2d(out, *pool)


class _Normalised(Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        residual: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        acts: Activation,
        pool: PoolSettings | None,
        precision: str,
        own: bool,
    ) -> Tensor:
        by_z, by_weight, _ = ctx.needs_input_grad[:3]
        z = dense(z.detach())
        scale = torch.rsqrt(variance + eps)
        special = _special(weight, bias) if by_weight else z.new_empty(0)
        x = _x_hat(z, mean, scale, special) if len(special) else None
        y = affine(z, weight, bias, mean, variance, eps, own=own)
        out = y if residual is None else y + residual
        out = out if acts is IDENTITY else acts.apply(out)
        kept, where = out if acts.cuts and residual is None else y, None
        ctx.shape, ctx.layout, ctx.acts, ctx.pool = z.shape, layout_of(z), acts, pool
        if pool is not None:
            out, where = aten.max_pool2d_with_indices(out, *pool)
            # Without a gradient by z only the maxima are ever asked for.
            kept = kept if by_z else out
        ctx.marked = residual is not None and by_weight
        nothing = z.new_empty(0)
        code = step = special_step = places = nothing
        if pool is not None and by_z:
            assert where is not None
            places = places_in_windows(where, z.shape, pool)
        if by_weight or not (acts.cuts or acts is IDENTITY):
            if ctx.marked:
                code, step = encode_on(y, out, precision)
            else:
                bounded = acts.upper is not None
                code, step = encode(kept, precision, positive=acts.cuts, bounded=bounded)
            if x is not None:
                if pool is not None and not by_z:
                    x = x.flatten(2).gather(2, where[:, special].flatten(2))  # type: ignore[index]
                    x = x.view(len(x), len(special), *out.shape[2:])
                code = code.clone() if code is kept else code
                on = out[:, special] > 0 if ctx.marked else None
                special_step = _put(code, x, special, on)
        elif acts.cuts:
            code = pack(out, acts.upper)
        ctx.save_for_backward(weight, bias, scale, code, step, special, special_step, places)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, scale, code, step, special, special_step, places = ctx.saved_tensors
        by_z, by_weight, by_bias = ctx.needs_input_grad[:3]
        acts: Activation = ctx.acts
        g = g.contiguous(memory_format=ctx.layout)
        if places.numel():
            g = unpooled(g, places, ctx.shape, ctx.layout, ctx.pool)
        x = y = None
        if not by_weight and acts.cuts:
            dy = masked(g, code)
        elif not by_weight and acts is IDENTITY:
            dy = g
        else:
            if ctx.marked:
                y, g = decode_on(code, step, g)
            else:
                y = decode(code, step, scale.dtype)
            if special.numel():
                x = _taken(code, special, special_step, scale.dtype)
                y = y.clone() if y is code else y
                again = x * along(weight[special], x)
                if bias is not None:
                    again = again + along(bias[special], x)
                bounded = acts.cuts and not ctx.marked
                y[:, special] = again.clamp(0, acts.upper) if bounded else again
            dy = g if acts is IDENTITY or ctx.marked else acts.backward(g, y)
        by_residual = dy if ctx.needs_input_grad[3] else None
        scaled = scale if weight is None else scale * weight
        if not by_weight:
            dz = dy * along(scaled, dy) if by_z else None
            return dz, None, _sums(dy) if by_bias else None, by_residual, *_NONE
        assert y is not None
        # PyTorch's own kernel for constant statistics: y stands in x's place, bias in the mean's.
        centre = torch.zeros_like(scale) if bias is None else bias
        dz, dweight, dbias = aten.native_batch_norm_backward(
            dy, y, scaled, centre, torch.ones_like(scale), None, None, False, 0.0,
            [by_z, True, True],
        )  # fmt: skip
        dweight = dweight / weight
        if x is not None:
            dweight[special] = _sums(dy[:, special] * x)
        return dz, dweight, dbias if by_bias else None, by_residual, *_NONE


_NONE = (None,) * 7


def affine(
    z: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    *,
    own: bool = False,
) -> Tensor:
    """z normalised with constant statistics (C,); own: in z's memory, where that is faster."""
    if z.is_cuda or layout_of(z) is torch.contiguous_format:
        return torch.batch_norm(z, weight, bias, mean, variance, False, 0.0, eps, False)
    # Half the time of PyTorch's own kernel, and a tensor less.
    scale = torch.rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else torch.addcmul(bias, mean, scale, value=-1)
    into = z if own else torch.empty_like(z)
    return torch.addcmul(along(shift, z), z, along(scale, z), out=into)


def _special(weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Channels whose x^ cannot be told from y."""
    assert weight is not None
    if weight.is_cuda:
        bound = 0.0 if bias is None else bias.abs()
        return (LARGE_BIAS * weight.abs() <= bound).nonzero().flatten()
    # A fifth of the time, once for each layer of each frame.
    gamma = np.abs(weight.detach().numpy())
    bounds = 0.0 if bias is None else np.abs(bias.detach().numpy())
    return torch.from_numpy(np.flatnonzero(gamma * LARGE_BIAS <= bounds))


def _x_hat(z: Tensor, mean: Tensor, scale: Tensor, channels: Tensor) -> Tensor:
    part = z[:, channels]
    return (part - along(mean[channels], part)) * along(scale[channels], part)


def _put(code: Tensor, x: Tensor, channels: Tensor, on: Tensor | None) -> Tensor:
    """Writes x^ of some channels into a code, zero where it is not on; returns their step."""
    values, step = x, x.new_empty(0)
    if not code.is_floating_point():
        values, step = encode(x, "int8", positive=False)
        if code.dtype == torch.uint8:
            values = (values.to(torch.int16) + HALF_BYTE).to(torch.uint8)
    code[:, channels] = (values if on is None else values * on).to(code.dtype)
    return step


def _taken(code: Tensor, channels: Tensor, step: Tensor, dtype: torch.dtype) -> Tensor:
    """The inverse of `_put`."""
    values = code[:, channels].to(dtype)
    if code.is_floating_point():
        return values
    if code.dtype == torch.uint8:
        values -= HALF_BYTE
    return values * along(step.to(dtype), values)


def _sums(x: Tensor) -> Tensor:
    """By channel, (C,)."""
    return x.sum((0, *range(2, x.ndim)))


def moments(z: Tensor, precision: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and biased variance of z by channel (C,), and a code of z in units of those.

    The code is empty where no gradient flows.
    """
    if torch.is_grad_enabled() and z.requires_grad:
        return _Moments.apply(z, precision)  # type: ignore[no-any-return]
    mean, variance = aten.batch_norm_update_stats(z, None, None, 0.0)
    return mean, variance, z.new_empty(0), z.new_empty(0)


class _Moments(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, precision: str) -> tuple[Tensor, ...]:
        z = dense(z)
        mean, variance = aten.batch_norm_update_stats(z, None, None, 0.0)
        tiny = torch.finfo(z.dtype).eps
        u = torch.batch_norm(z, None, None, mean, variance, False, 0.0, tiny, False)
        code, step = encode(u, precision, positive=False)
        ctx.save_for_backward(code, step, (variance + tiny).sqrt())
        ctx.mark_non_differentiable(code, step)
        return mean, variance, code, step

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_mean: Tensor, by_variance: Tensor, *_: Any) -> tuple[Any, ...]:
        code, step, deviation = ctx.saved_tensors
        u = decode(code, step, deviation.dtype)
        count = u.numel() // u.shape[1]
        slope = 2 * by_variance * deviation / count
        return torch.addcmul(along(by_mean / count, u), u, along(slope, u)), None


def renormalised(
    z: Tensor,
    own: tuple[Tensor, Tensor, Tensor, Tensor],
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    activation: Activation | None,
    precision: str,
) -> Tensor:
    """As `normalised`, with a gradient by mean and variance too.

    own: what `moments(z)` found, whose code is kept once for both.
    """
    detached = (own[0].detach(), own[1].detach(), own[2], own[3])
    return _Renormalised.apply(  # type: ignore[no-any-return]
        z, mean, variance, weight, bias, *detached, eps, activation or IDENTITY
    )


class _Renormalised(Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        own_mean: Tensor,
        own_variance: Tensor,
        code: Tensor,
        step: Tensor,
        eps: float,
        acts: Activation,
    ) -> Tensor:
        z = dense(z)
        y = torch.batch_norm(z, weight, bias, mean, variance, False, 0.0, eps, False)
        out = y if acts is IDENTITY else acts.apply(y)
        bits = pack(out, acts.upper) if acts.cuts else z.new_empty(0)
        ctx.eps, ctx.acts, ctx.layout = eps, acts, layout_of(z)
        ctx.save_for_backward(
            mean, variance, weight, bias, own_mean, own_variance, code, step, bits
        )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        mean, variance, weight, bias, own_mean, own_variance, code, step, bits = ctx.saved_tensors
        g = g.contiguous(memory_format=ctx.layout)
        scale = torch.rsqrt(variance + ctx.eps)
        # x^ = ratio u + gap, u the code's values.
        ratio = (own_variance + torch.finfo(scale.dtype).eps).sqrt() * scale
        gap = (own_mean - mean) * scale
        u = decode(code, step, scale.dtype)
        ones = torch.ones_like(scale)
        gamma = ones if weight is None else weight
        acts: Activation = ctx.acts
        if acts.cuts:
            dy = masked(g, bits)
        elif acts is IDENTITY:
            dy = g
        else:
            beta = torch.zeros_like(scale) if bias is None else bias
            y = torch.addcmul(along(gamma * gap + beta, u), u, along(gamma * ratio, u))
            dy = acts.backward(g, y)
        dz, by_u, dbias = aten.native_batch_norm_backward(
            dy, u, gamma * scale, torch.zeros_like(scale), ones, None, None, False, 0.0,
            [ctx.needs_input_grad[0], True, True],
        )  # fmt: skip
        dweight = ratio * by_u + gap * dbias
        by_mean = -gamma * scale * dbias
        by_variance = -0.5 * gamma * scale.square() * dweight
        return (
            dz,
            by_mean,
            by_variance,
            dweight if ctx.needs_input_grad[3] else None,
            dbias if ctx.needs_input_grad[4] else None,
            *_NONE[:6],
        )
