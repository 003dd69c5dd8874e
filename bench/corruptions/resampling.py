"""Resampling of a batch, one axis after the other: zoom, box means, smoothing."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.corruptions.pixels import Pixels

Real = TypeVar("Real", np.float32, np.float64)


def zoomed(images: NDArray[Real], factor: float) -> NDArray[Real]:
    """Images (n, H, W, C) with their middle magnified by ``factor`` >= 1, linearly."""
    for axis in (1, 2):
        left, share = _zoom_line(images.shape[axis], factor)
        weight = share.astype(images.dtype).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = np.take(images, left, axis), np.take(images, left + 1, axis)
        images = first + (second - first) * weight
    return images


def _zoom_line(side: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The left one of the two sources of each pixel of a zoomed axis, and the right one's weight.

    The middle ceil(side / factor) pixels are stretched so that the first and last pixel keep their
    centres, then cut to ``side`` again, as in the published ``clipped_zoom``.
    """
    middle = int(np.ceil(side / factor))
    stretched = round(middle * factor)
    first = (side - middle) // 2
    trim = (stretched - side) // 2
    position = np.arange(trim, trim + side) * ((middle - 1) / (stretched - 1))
    left = np.minimum(position, middle - 2).astype(np.int64)
    return first + left, np.asarray(position - left)


def box_means(images: Pixels, smaller: int, axis: int) -> Pixels:
    """Images (n, H, W, C) with ``axis`` reduced to ``smaller`` means, rounded, halves up.

    As in Pillow's BOX reduction a pixel belongs to the cell in which its centre lies; it is never
    shared between cells.
    """
    side = images.shape[axis]
    cell = np.ceil((np.arange(side) + 0.5) * (smaller / side)) - 1
    starts = np.searchsorted(cell, np.arange(smaller))
    counts = np.diff(starts, append=side).reshape([-1 if a == axis else 1 for a in range(4)])
    sums = np.add.reduceat(images, starts, axis, dtype=np.int64)
    means = (2 * sums + counts) // (2 * counts)
    return np.asarray(means, dtype=np.uint8)


@lru_cache(maxsize=64)
def smoothing_matrix(side: int, sigma: float) -> NDArray[np.float64]:
    """Matrix (side, side) of a Gaussian cut at 3 sigma, the axis mirrored at its ends.

    A matrix, because the published sigma reaches 171 pixels: over a thousand taps, which a product
    of two small matrices replaces.
    """
    reach = int(3.0 * sigma + 0.5)
    taps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (taps / sigma) ** 2) if reach else np.ones(1)
    source = mirrored(np.arange(side)[:, None] + taps, side)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], source), weights / weights.sum())
    matrix.flags.writeable = False
    return matrix


def mirrored(index: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Fold any index into 0 .. side - 1, the ends repeated: c b a | a b c | c b a."""
    folded = index % (2 * side)
    return np.minimum(folded, 2 * side - 1 - folded)
