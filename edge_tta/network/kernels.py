"""What a program normalises with: PyTorch's own operations, or the lean executor's.

A step asks for the moments of each BatchNorm's input and for its output. Both ways compute the
same; the lean one keeps a compact tensor for the backward pass and runs what follows with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edge_tta.network import lean_norm
from edge_tta.network.lean_activations import Activation
from edge_tta.network.lean_operations import PoolSettings, pointwise


class LeanKernels:
    """Of one forward pass: remembers the code of the latest input, for what asks for it next."""

    def __init__(self, precision: str) -> None:
        self._precision = precision
        self._latest: tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]] | None = None

    def moments(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of z (N, C, *spatial), each (C,), float32 at least."""
        wide = _wide(z)
        found = lean_norm.moments(wide, self._precision)
        if found[2].numel():
            self._latest = z, found
        return found[0], found[1]

    def normalise(
        self,
        z: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        activation: Activation | None = None,
        pool: PoolSettings | None = None,
        residual: Tensor | None = None,
        own: bool = False,
    ) -> Tensor:
        """BatchNorm with these statistics, and what follows it in one.

        residual: added before the activation. own: nothing else reads z.
        """
        if residual is not None and not self._can_add(z, mean, variance, residual):
            plain = self.normalise(z, mean, variance, weight, bias, eps)
            assert activation is not None
            return pointwise(plain + residual, activation, self._precision)
        latest, self._latest = self._latest, None
        wide = _wide(z)
        if not (torch.is_grad_enabled() and (mean.requires_grad or variance.requires_grad)):
            out = lean_norm.normalised(
                wide, mean, variance, weight, bias, eps, activation, pool, self._precision,
                residual, own=own,
            )  # fmt: skip
            return out.to(z.dtype)
        found = latest[1] if latest is not None and latest[0] is z else None
        if found is None:
            found = lean_norm.moments(wide.detach().requires_grad_(), self._precision)
        out = lean_norm.renormalised(
            wide, found, mean, variance, weight, bias, eps, activation, self._precision
        )
        out = out if pool is None else lean_norm.aten.max_pool2d(out, *pool)
        return out.to(z.dtype)

    @staticmethod
    def _can_add(z: Tensor, mean: Tensor, variance: Tensor, residual: Tensor) -> bool:
        through = torch.is_grad_enabled() and (mean.requires_grad or variance.requires_grad)
        fits = residual.shape == z.shape and residual.dtype == z.dtype == _wide(z).dtype
        return fits and not through


def _wide(z: Tensor) -> Tensor:
    return z if z.dtype in (torch.float32, torch.float64) else z.float()


Moments = tuple[Tensor, Tensor]
Kernels = object


def batch_moments(z, source_mean):
    axes = [0, *range(2, z.ndim)]
    wide = z if z.dtype == torch.float64 else z.float()
    mean = wide.mean(axes)
    centred = wide - mean.view((1, -1) + (1,) * (z.ndim - 2))
    return mean - source_mean, (centred * centred).mean(axes)


class Shim:
    def __init__(self, lean):
        self.lean = lean

    def moments(self, z, centre):
        if self.lean is None:
            return batch_moments(z, centre)
        mean, variance = self.lean.moments(z)
        return mean - centre, variance


def stock_normalise(z, mean, variance, weight, bias, eps):
    from torch.nn import functional

    if not (mean.requires_grad or variance.requires_grad):
        return functional.batch_norm(z, mean, variance, weight, bias, training=False, eps=eps)
    shape = (1, -1) + (1,) * (z.ndim - 2)
    scale = torch.rsqrt(variance + eps)
    out = (z - mean.view(shape)) * scale.view(shape)
    if weight is not None:
        out = out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)
