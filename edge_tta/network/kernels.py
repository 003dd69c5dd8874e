"""Kernels that a run of a program computes moments and BatchNorms with, in one forward pass.

The kernels here are PyTorch's own, those of `edge_tta.network.lean.kernels` save less; both compute
the same.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.network.lean.fused import Fused

# (offset of the mean from a centre, biased variance), each (C,).
Moments = tuple[Tensor, Tensor]


class Normalisation(NamedTuple):
    """Return (z - mean) / sqrt(variance + eps) * weight + bias; tensors are (C,)."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    @property
    def statistics_require_grad(self) -> bool:
        """Return whether the gradient flows through mean or variance."""
        return self.mean.requires_grad or self.variance.requires_grad


class Kernels:
    """PyTorch's own operations, which its autograd differentiates; nothing is fused."""

    def moments(self, z: Tensor, centre: Tensor, weights: Tensor | None = None) -> Moments:
        """Return (mean - centre, biased variance) of z (N, C, *spatial), each (C,), float32 at
        least.

        weights: of `batch_moments`.
        """
        return batch_moments(z, centre, weights)

    def normalise(
        self, z: Tensor, norm: Normalisation, fused: Fused | None, residual: Tensor | None
    ) -> Tensor:
        """Return the BatchNorm of z, and what is fused with it, in the type of z.

        residual: added before the activation.
        """
        assert fused is None
        assert residual is None
        mean, variance, weight, bias, eps = norm
        if not norm.statistics_require_grad:
            return functional.batch_norm(z, mean, variance, weight, bias, training=False, eps=eps)
        shape = (1, -1) + (1,) * (z.ndim - 2)
        scale = torch.rsqrt(variance + eps)
        out = (z - mean.view(shape)) * scale.view(shape)
        if weight is not None:
            out = out * weight.view(shape)
        return out if bias is None else out + bias.view(shape)


def batch_moments(z: Tensor, source_mean: Tensor, weights: Tensor | None = None) -> Moments:
    """Offset from the source mean and biased variance of z (N, C, *spatial), each (C,) (Eq. 4).

    weights: of each position, (*spatial), 1 in total, float32, or float64 as z; None: all count
        alike.
    """
    axes = [0, *range(2, z.ndim)]
    wide = z if z.dtype == torch.float64 else z.float()
    shares = None if weights is None else weights / len(z)

    def average(x: Tensor) -> Tensor:
        return x.mean(axes) if shares is None else (x * shares).sum(axes)

    # Two plain passes are as exact as torch.var_mean (Welford) and faster on a CPU.
    mean = average(wide)
    centred = wide - mean.view((1, -1) + (1,) * (z.ndim - 2))
    return mean - source_mean, average(centred * centred)
