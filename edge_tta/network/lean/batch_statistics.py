"""BatchNorm with a gradient by its statistics too, and the moments of its input.

Both save one code, u = (z - mean) / sqrt(variance + tiny) with the input's own moments, from which
z and x^ follow by a scale and a shift of each channel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.network.kernels import Normalisation
from edge_tta.network.lean.activations import IDENTITY, Activation
from edge_tta.network.lean.affine_gradients import affine_gradients
from edge_tta.network.lean.codes import (
    Code,
    Precision,
    along,
    decode,
    dense,
    encode,
    layout_of,
    masked,
    pack,
)

aten = torch.ops.aten


class BatchStatistics(NamedTuple):
    """Mean and biased variance of z by channel (C,), and a code of z in units of those, whose
    values are empty where no gradient flows."""

    mean: Tensor
    variance: Tensor
    code: Code


def batch_statistics(z: Tensor, precision: Precision) -> BatchStatistics:
    """Return those of z (N, C, *spatial), of float32 or float64 (NanoAdapt Eq. 4)."""
    if torch.is_grad_enabled() and z.requires_grad:
        mean, variance, *code = _Moments.apply(z, precision)
        return BatchStatistics(mean, variance, Code(*code))
    mean, variance = aten.batch_norm_update_stats(z, None, None, 0.0)
    return BatchStatistics(mean, variance, Code(z.new_empty(0), z.new_empty(0)))


class _Moments(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, precision: Precision) -> tuple[Tensor, ...]:
        z = dense(z)
        mean, variance = aten.batch_norm_update_stats(z, None, None, 0.0)
        tiny = torch.finfo(z.dtype).eps
        u = torch.batch_norm(z, None, None, mean, variance, False, 0.0, tiny, False)
        code = encode(u, precision, positive=False)
        ctx.save_for_backward(*code, (variance + tiny).sqrt())
        ctx.mark_non_differentiable(*code)
        return mean, variance, *code

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_mean: Tensor, by_variance: Tensor, *_: Any) -> tuple[Any, ...]:
        values, step, deviation = ctx.saved_tensors
        u = decode(Code(values, step), deviation.dtype)
        count = u.numel() // u.shape[1]
        slope = 2 * by_variance * deviation / count
        return torch.addcmul(along(by_mean / count, u), u, along(slope, u)), None


def normalised_through(
    z: Tensor, own: BatchStatistics, norm: Normalisation, activation: Activation
) -> Tensor:
    """Return the BatchNorm of z and its activation, with a gradient by mean and variance too.

    own: the statistics of z, whose code is saved once for both.
    """
    own = BatchStatistics(own.mean.detach(), own.variance.detach(), own.code)
    mean, variance, weight, bias, eps = norm
    return _Normalised.apply(  # type: ignore[no-any-return]
        z, mean, variance, weight, bias, own, eps, activation
    )


class _Normalised(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, *given: Any) -> Tensor:
        mean, variance, weight, bias, own, eps, activation = given
        z = dense(z)
        y = torch.batch_norm(z, weight, bias, mean, variance, False, 0.0, eps, False)
        out: Tensor = activation.apply(y)
        bits = pack(out, activation.upper) if activation.clips else z.new_empty(0)
        ctx.eps, ctx.activation, ctx.layout = eps, activation, layout_of(z)
        ctx.save_for_backward(mean, variance, weight, bias, own.mean, own.variance, *own.code, bits)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        mean, variance, weight, bias, own_mean, own_variance, *code, bits = ctx.saved_tensors
        by_z, by_weight, by_bias = (ctx.needs_input_grad[i] for i in (0, 3, 4))
        activation: Activation = ctx.activation
        g = g.contiguous(memory_format=ctx.layout)
        scale = torch.rsqrt(variance + ctx.eps)
        # x^ = ratio u + gap.
        ratio = (own_variance + torch.finfo(scale.dtype).eps).sqrt() * scale
        gap = (own_mean - mean) * scale
        u = decode(Code(*code), scale.dtype)
        gamma = torch.ones_like(scale) if weight is None else weight
        if activation.clips:
            dy = masked(g, bits)
        elif activation == IDENTITY:
            dy = g
        else:
            beta = torch.zeros_like(scale) if bias is None else bias
            y = torch.addcmul(along(gamma * gap + beta, u), u, along(gamma * ratio, u))
            dy = activation.backward(g, y)
        nothing = torch.zeros_like(scale)
        dz, by_u, dbias = affine_gradients(dy, u, gamma * scale, nothing, by_x=by_z)
        dweight = ratio * by_u + gap * dbias
        by_mean = -gamma * scale * dbias
        by_variance = -0.5 * gamma * scale.square() * dweight
        by_affine = dweight if by_weight else None, dbias if by_bias else None
        return dz, by_mean, by_variance, *by_affine, None, None, None
