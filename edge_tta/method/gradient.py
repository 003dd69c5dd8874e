"""How the gradient flows through the statistics of a BatchNorm (NanoAdapt Eq. 10-12).

All three compute the same output, x normalised with the calibrated statistics; they differ in what
the backward pass sees. (The paper's Eq. 10 misprints: dL/d var lacks a minus sign and dL/dx^_i has
a sum too many; autograd on the forward formula is what is meant.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.method.moments import Moments


def constant(batch: Moments, calibrated: Moments) -> Moments:
    """Statistics are constants: the backward pass needs nothing but the output."""
    return calibrated[0].detach(), calibrated[1].detach()


def as_blended(batch: Moments, calibrated: Moments) -> Moments:
    """Through Eq. 5 as it stands: the batch's statistics carry 1 - m of the gradient."""
    return calibrated


def proxy(batch: Moments, calibrated: Moments) -> Moments:
    """Eq. 12: calibrated values forward; backward as if they were the batch's own statistics."""
    return (
        calibrated[0].detach() + (batch[0] - batch[0].detach()),
        calibrated[1].detach() + (batch[1] - batch[1].detach()),
    )


PATHS: dict[str, Callable[[Moments, Moments], Moments]] = {
    "constant": constant,
    "calibrated": as_blended,
    "proxy": proxy,
}


def normalise(
    z: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """(z - mean) / sqrt(variance + eps) * weight + bias, for z (N, C, *spatial), others (C,)."""
    if not (mean.requires_grad or variance.requires_grad):
        return functional.batch_norm(z, mean, variance, weight, bias, training=False, eps=eps)
    shape = (1, -1) + (1,) * (z.ndim - 2)
    scale = torch.rsqrt(variance + eps)
    out = (z - mean.view(shape)) * scale.view(shape)
    if weight is not None:
        out = out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)
