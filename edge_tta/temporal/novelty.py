"""Novelty: how much of a frame is news.

    novelty = min(1, mean_f (b_f - last b_f)^2 / (2 variance_f))^(1/4)

b: means of a frame over a grid of 4 x 4 blocks in each channel; variance: running, over the stream.
Unrelated frames are apart by twice the variance, so that they are all news. Block means do not see
a sensor's noise. The root is what measured best (docs/background/temporal.md).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

Blocks = npt.NDArray[np.float64]
"""Block means (..., rows, columns) of images (..., H, W)."""

GRID = 4
SAMPLED = 128
"""Rows and columns, at least, that means are over where a picture has more."""

MEMORY = 300
"""Frames that the running variance is over."""

FIRST_VARIANCE, FIRST_FRAMES = 0.25, 20
"""Variance of normalised pictures' block means that is assumed at first, as of so many frames."""

WILD = 10.0
"""Standard deviations, of at least the first variance, that a frame is from the mean at most.

Pictures are nearer. Of a wild frame no more is remembered: else all later ones would seem alike.
"""


class Novelty:
    """Tells how much each frame of a stream is news, in [0, 1]; the first is all news."""

    def __init__(self) -> None:
        self._last: Blocks | None = None
        self._mean = self._variance = np.zeros(())
        self._frames = FIRST_FRAMES

    def update(self, blocks: Blocks) -> float:
        """Return the novelty of the next frame, of its block means (channels, rows, columns).

        A frame of another shape than the one before is all news; of one with means that are not
        finite, which is all news too, nothing is remembered.
        """
        if not np.isfinite(blocks).all():
            return 1.0
        last, self._last = self._last, blocks
        if last is None or last.shape != blocks.shape:
            self._begin(blocks)
            return 1.0
        self._frames += 1
        if self._frames == FIRST_FRAMES + 1 and self._first_was_wild(blocks):
            self._begin(blocks)
            self._frames += 1
            return 1.0
        # What is no news tells nothing of how far unrelated frames are apart.
        weight = _novelty(blocks - last, self._variance) ** 2 / min(self._frames, MEMORY)
        limit = self._limit()
        gap = np.minimum(np.maximum(blocks - self._mean, -limit), limit)
        self._mean = self._mean + weight * gap
        self._variance = (1 - weight) * (self._variance + weight * gap * gap)
        return _novelty(blocks - last, self._variance)

    def _begin(self, blocks: Blocks) -> None:
        self._mean, self._variance = blocks, np.full(blocks.shape, FIRST_VARIANCE)
        self._frames = FIRST_FRAMES

    def _first_was_wild(self, second: Blocks) -> bool:
        apart = bool((np.abs(second - self._mean) > self._limit()).any())
        return apart and float(np.abs(second).sum()) < float(np.abs(self._mean).sum())

    def _limit(self) -> Blocks:
        limit: Blocks = WILD * np.sqrt(np.maximum(self._variance, FIRST_VARIANCE))
        return limit


def _novelty(gap: Blocks, variance: Blocks) -> float:
    distance = float(np.mean(gap * gap / (2 * variance + 1e-9)))
    return float(min(1.0, distance**0.25))


def block_means(images: npt.NDArray[Any]) -> Blocks:
    """Return the means of normalised images (..., H, W) over at most GRID x GRID blocks of each.

    Of large pictures evenly spaced rows and columns are enough.
    """
    down, across = (max(1, side // SAMPLED) for side in images.shape[-2:])
    images = images[..., ::down, ::across]
    rows, columns, sizes = _grid(*images.shape[-2:])
    means: Blocks = np.add.reduceat(np.add.reduceat(images, rows, -2), columns, -1) / sizes
    return means


@functools.lru_cache
def _grid(height: int, width: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Return where the blocks' rows and columns start, and how many pixels each block has."""
    rows, columns = (
        np.arange(min(GRID, side)) * side // min(GRID, side) for side in (height, width)
    )
    return rows, columns, np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
