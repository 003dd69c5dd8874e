"""Gradients of a scale and shift by channel."""

from __future__ import annotations

import torch
from torch import Tensor

from edge_tta.network.lean.codes import along, channel_sums

aten = torch.ops.aten


def affine_gradients(
    dy: Tensor, x: Tensor, scale: Tensor, centre: Tensor, *, by_x: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return dy scale (None unless `by_x`), sums of dy (x - centre), and sums of dy, (C,) each.

    dy, x: (N, C, *spatial); scale, centre: (C,).
    """
    if dy.is_cuda:
        # There PyTorch's kernel insists on a batch's own statistics.
        dx = dy * along(scale, dy) if by_x else None
        return dx, channel_sums(dy * (x - along(centre, x))), channel_sums(dy)
    # PyTorch's own kernel for constant statistics, of variance 1.
    return aten.native_batch_norm_backward(  # type: ignore[no-any-return]
        dy, x, scale, centre, torch.ones_like(scale), None, None, False, 0.0, [by_x, True, True]
    )
