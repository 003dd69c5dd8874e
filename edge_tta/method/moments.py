"""Running statistics of BatchNorm inputs (NanoAdapt Eq. 4-5). Axes: N images, C channels, H, W.

Eq. 5 keeps moving averages of x and x^2 and takes var = E[x^2] - E[x]^2, which in float32 loses
every digit when |mean| >> std. The same quantities are kept here as (offset, variance): the offset
of the mean from the source mean, and the variance itself. Blending these,

    offset' = m offset + (1 - m) d,      var' = m var + (1 - m) v + m (1 - m) (offset - d)^2,

is Eq. 5 term by term, never cancels, and never goes below zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

# (offset from the source mean, variance), each (C,).
Moments = tuple[Tensor, Tensor]

# Smallest calibrated variance, relative to the source's. A first-order shift (Eq. 8) can pass zero.
VARIANCE_FLOOR = 1e-4


def batch_moments(z: Tensor, source_mean: Tensor) -> Moments:
    """Offset from the source mean and biased variance of z (N, C, *spatial), each (C,), Eq. 4."""
    axes = [0, *range(2, z.ndim)]
    wide = z if z.dtype == torch.float64 else z.float()
    # Two plain passes are as exact as torch.var_mean (Welford) and faster on a CPU.
    mean = wide.mean(axes)
    centred = wide - mean.view((1, -1) + (1,) * (z.ndim - 2))
    return mean - source_mean, (centred * centred).mean(axes)


def blend(history: Moments, batch: Moments, smoothing: Tensor) -> Moments:
    """Eq. 5 on (offset, variance): `smoothing` m in [0, 1] is the weight on the history."""
    offset, variance = history
    batch_offset, batch_variance = batch
    news = 1 - smoothing
    gap = offset - batch_offset
    return (
        smoothing * offset + news * batch_offset,
        smoothing * variance + news * batch_variance + smoothing * news * gap * gap,
    )


def shift(
    history: Moments,
    change_of_mean: Tensor,
    change_of_square: Tensor,
    source_variance: Tensor,
) -> Moments:
    """Moves the history to new parameters by first order (Eq. 8).

    The changes are those of E[x] and of E[(x - source mean)^2], each (C,). The variance stays at
    or above VARIANCE_FLOOR of the source's.
    """
    offset, variance = history
    moved = variance + change_of_square - (2 * offset + change_of_mean) * change_of_mean
    return offset + change_of_mean, torch.maximum(moved, VARIANCE_FLOOR * source_variance)


def smoothing_at(step: Tensor, smoothing: float, prior_frames: float, initial: str) -> Tensor:
    """The weight on the history at a step (from 0), as a float32 scalar.

    A short start averages the first steps evenly, with the source counting as `prior_frames`;
    with initial = "first" the first step takes the batch's own statistics.
    """
    t = step.to(torch.float32)
    m = torch.full_like(t, smoothing)
    if prior_frames > 0:
        m = torch.minimum(m, 1 - 1 / (t + prior_frames + 1))
    if initial == "first":
        m = torch.where(step == 0, torch.zeros_like(m), m)
    return m


def spread_of(batch: Moments, running: Moments, source_variance: Tensor, eps: float) -> Tensor:
    """How far one batch's statistics lie from the running ones: (..., 2), means over channels.

    First the squared distance of the means in units of the source variance, then that of the
    logarithms of the variances (with BatchNorm's eps, so that dead channels do not count).
    """
    gap = (batch[0] - running[0]).square() / (source_variance + eps)
    ratio = ((batch[1] + eps) / (running[1] + eps)).log()
    return torch.stack([gap.mean(-1), ratio.square().mean(-1)], -1)


def anchored(
    running: Moments, spread: Tensor, anchor: float, source_variance: Tensor, eps: float
) -> Moments:
    """Running statistics drawn back to the source as far as chance could explain their distance.

    A positive-part James-Stein estimate, for each layer on its own. The running statistics stand
    off the source by s = mean over channels of offset^2 / variance (for variances: of the squared
    logarithm of their ratio). If the frames of a stream are alike (one place, one class), they
    are not many independent ones but a few, `1 / anchor`, and their mean misses the true one by
    about anchor * spread. So only the share max(0, 1 - anchor * spread / s) of the distance is
    believed. Layers that tell classes apart, whose statistics follow what is in the picture, stay
    near the source; layers that a disturbance moves by far more than pictures do are calibrated
    almost fully.

    Args:
        running: (offset, variance), each (..., C).
        spread: running mean of `spread_of`, (..., 2).
        anchor: share of the spread taken for chance, >= 0; 0 believes everything.
    """
    offset, variance = running
    scale = source_variance + eps
    log_ratio = ((variance + eps) / scale).log()
    believed = _believed(offset.square() / scale, spread[..., 0], anchor)
    believed_ratio = _believed(log_ratio.square(), spread[..., 1], anchor)
    drawn = scale * (log_ratio * believed_ratio).exp() - eps
    return offset * believed, drawn.clamp_min(0)


def _believed(shift: Tensor, spread: Tensor, anchor: float) -> Tensor:
    """max(0, 1 - anchor * spread / mean shift), (..., 1); 1 where anchor is 0."""
    size = shift.mean(-1).clamp_min(torch.finfo(shift.dtype).tiny)
    return (1 - anchor * spread / size).clamp_min(0)[..., None]
