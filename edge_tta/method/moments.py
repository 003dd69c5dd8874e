"""Running statistics of BatchNorm inputs (NanoAdapt Eq. 4-5). Axes: N images, C channels, H, W.

Eq. 5 keeps moving averages of x and x^2 and takes var = E[x^2] - E[x]^2, which in float32 loses
every digit when |mean| >> std. The same quantities are kept here as (offset, variance): the offset
of the mean from the source mean, and the variance itself. Blending these,

    offset' = m offset + (1 - m) d,      var' = m var + (1 - m) v + m (1 - m) (offset - d)^2,

is Eq. 5 term by term, never cancels, and never goes below zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edge_tta.network.kernels import Moments as Moments

# Smallest calibrated variance, relative to the source's. A first-order shift (Eq. 8) can pass zero.
VARIANCE_FLOOR = 1e-4


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


def mix(source: Moments, batch: Moments, alpha: float) -> Moments:
    """alpha-BN: (1 - alpha) source + alpha batch, of means and of variances, term by term.

    Not Eq. 5: the gap between the two means adds nothing to the variance.
    """
    return (
        (1 - alpha) * source[0] + alpha * batch[0],
        (1 - alpha) * source[1] + alpha * batch[1],
    )


def blend_deviations(history: Moments, batch: Moments, smoothing: Tensor, eps: float) -> Moments:
    """DELTA's averages, of the mean and of the standard deviation sqrt(variance + eps)."""
    news = 1 - smoothing
    deviation = smoothing * (history[1] + eps).sqrt() + news * (batch[1] + eps).sqrt()
    # Rounding can push the square just below eps.
    variance = (deviation.square() - eps).clamp_min(0)
    return smoothing * history[0] + news * batch[0], variance


def pooled(batches: Sequence[tuple[Moments, int]]) -> Moments:
    """Moments of batches together, each with its share: of a layer that runs several times."""
    (total, count), *others = batches
    for batch, more in others:
        total = blend(total, batch, torch.as_tensor(count / (count + more)))
        count += more
    return total


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


def smoothing_at(
    step: Tensor, smoothing: float, prior_frames: float, initial: str = "source"
) -> Tensor:
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
