"""How statistics of BatchNorm inputs are blended (NanoAdapt Eq. 5) and shifted (Eq. 8): DBC.

Eq. 5 keeps moving averages of x and x^2 and takes var = E[x^2] - E[x]^2, which in float32 loses
every digit when |mean| >> std. The same quantities are kept here as (offset, variance): the offset
of the mean from the source mean, and the variance itself. Blending these,

    offset' = m offset + (1 - m) d,      var' = m var + (1 - m) v + m (1 - m) (offset - d)^2,

is Eq. 5 term by term, never cancels, and never goes below zero.

Axes: C channels, of one layer or of all, one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from edge_tta.network.kernels import Moments as Moments

# Rows, or columns, that a frame's moments are measured at, at least: neighbours say much the same,
# and every pass over a large map costs.
LEAST_ROWS = 10

# Smallest calibrated variance, relative to the source's. A first-order shift (Eq. 8) can pass zero.
VARIANCE_FLOOR = 1e-4


def blend(history: Moments, batch: Moments, smoothing: Tensor | float) -> Moments:
    """Return Eq. 5 on (offset, variance), (C,) each.

    smoothing: m, the weight on the history, in [0, 1].
    """
    offset, variance = history
    batch_offset, batch_variance = batch
    weight = 1 - smoothing
    gap = offset - batch_offset
    return (
        smoothing * offset + weight * batch_offset,
        smoothing * variance + weight * batch_variance + smoothing * weight * gap * gap,
    )


@functools.cache
def sampling_stride(side: int) -> int:
    """Return k: of a map's side, every k-th row (or column) is measured, the first and last too.

    Padding gives a map's edges statistics of their own, which are measured as they are: k divides
    side - 1, and is 1 where nothing else does.
    """
    steps = range(1, max(2, (side - 1) // (LEAST_ROWS - 1) + 1))
    return max(k for k in steps if (side - 1) % k == 0)


def sampled(z: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the positions of z (N, C, *spatial) that a frame's moments are measured at, a view,
    and their weights, (*spatial) of the view, 1 in total; None: all positions, of equal weight.
    """
    strides = [sampling_stride(side) for side in z.shape[2:]]
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    weights = axis_weights(z.shape[2:], dtype, z.device)
    if weights is None:
        return z, None
    places = (slice(None), slice(None), *(slice(None, None, k) for k in strides))
    return z[places], functools.reduce(lambda whole, axis: whole.unsqueeze(-1) * axis, weights)


def axis_weights(
    sides: Sequence[int], dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> list[Tensor] | None:
    """Return the weights of the rows that `sampled` keeps of a map, 1 in total along each axis.

    An edge stands for itself alone, what is measured between the edges for all that lies there.
    None: all rows are kept, and weigh the same.
    """
    if all(sampling_stride(side) == 1 for side in sides):
        return None
    full = functools.partial(torch.full, dtype=dtype, device=device)
    weights = []
    for side in sides:
        inside = (side - 1) // sampling_stride(side) - 1
        if inside < 1:
            weights.append(full((side,), 1 / side))
            continue
        edge = full((1,), 1 / side)
        weights.append(torch.cat([edge, full((inside,), (side - 2) / (side * inside)), edge]))
    return weights


def pooled(batches: Sequence[Moments]) -> Moments:
    """Return the moments of batches of equal size together, (C,) each."""
    total, *others = batches
    for count, batch in enumerate(others, 1):
        total = blend(total, batch, count / (count + 1))
    return total


def shift(
    history: Moments,
    change_of_mean: Tensor,
    change_of_square: Tensor,
    source_variance: Tensor,
) -> Moments:
    """Return the history shifted to new parameters by first order (Eq. 8), (C,) each.

    The changes are those of E[x] and of E[(x - source mean)^2], each (C,). The variance stays at
    or above VARIANCE_FLOOR of the source's.
    """
    offset, variance = history
    shifted = variance + change_of_square - (2 * offset + change_of_mean) * change_of_mean
    return offset + change_of_mean, torch.maximum(shifted, VARIANCE_FLOOR * source_variance)


def smoothing_at(
    step: Tensor, smoothing: float, prior_frames: float, initial: str = "source"
) -> Tensor:
    """Return the weight on the history at a step (from 0), float32, of the step's shape.

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
