"""Moments and BatchNorms of a lean program."""

from __future__ import annotations

import torch
from torch import Tensor

from edge_tta.network.kernels import Kernels, Moments, Normalisation
from edge_tta.network.lean.batch_norm import normalised
from edge_tta.network.lean.batch_statistics import (
    BatchStatistics,
    batch_statistics,
    normalised_through,
)
from edge_tta.network.lean.codes import Precision
from edge_tta.network.lean.fused import Fused
from edge_tta.network.lean.operations import pointwise

aten = torch.ops.aten


class LeanKernels(Kernels):
    """`Kernels` that save one compact tensor for backward and run what is fused with a BatchNorm.

    Lives for one forward pass: the code of the latest input is kept for its BatchNorm.
    """

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._latest: tuple[Tensor, BatchStatistics] | None = None

    def moments(self, z: Tensor, centre: Tensor, weights: Tensor | None = None) -> Moments:
        """Return (mean - centre, biased variance) of z (N, C, *spatial), float32 at least."""
        if weights is not None:
            return super().moments(z, centre, weights)
        own = batch_statistics(_wide(z), self._precision)
        if own.code.values.numel():
            self._latest = z, own
        return own.mean - centre, own.variance

    def normalise(
        self, z: Tensor, norm: Normalisation, fused: Fused | None, residual: Tensor | None
    ) -> Tensor:
        """Return the BatchNorm of z, and what is fused with it, in the type of z."""
        fused, wide = fused or Fused(), _wide(z)
        through = torch.is_grad_enabled() and norm.statistics_require_grad
        if residual is not None:
            fits = residual.shape == z.shape and residual.dtype == z.dtype == wide.dtype
            if through or not fits:
                plain = self.normalise(z, norm, None, None)
                return pointwise(plain + residual, fused.activation, self._precision)
        latest, self._latest = self._latest, None
        if not through:
            return normalised(wide, norm, fused, self._precision, residual).to(z.dtype)
        if latest is not None and latest[0] is z:
            own = latest[1]
        else:
            own = batch_statistics(wide.detach().requires_grad_(), self._precision)
        out = normalised_through(wide, own, norm, fused.activation)
        return (out if fused.pool is None else aten.max_pool2d(out, *fused.pool)).to(z.dtype)


def _wide(z: Tensor) -> Tensor:
    return z if z.dtype in (torch.float32, torch.float64) else z.float()
