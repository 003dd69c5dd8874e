"""Plasma fractal by the diamond-square algorithm, wrapped round at its edges: shapes the fog."""

from __future__ import annotations

import numpy as np

from bench.corruptions.pixels import Reals, Rngs


def plasma(side: int, decay: float, rngs: Rngs) -> Reals:
    """One height map (n, side, side) for each generator, each stretched to exactly [0, 1].

    From one corner at height 0 the grid is refined: the middle of every square, then of every
    diamond, becomes the mean of its four neighbours plus uniform noise. ``side`` must be a power of
    two. The published script multiplies its noise by the roughness twice, so that the amplitude
    falls by decay squared, not by ``decay``, at each halving of the grid.
    """
    if side < 2 or side & (side - 1):
        raise ValueError(f"side must be a power of two of at least 2, got {side}")
    noise = np.stack([rng.uniform(-1.0, 1.0, size=side * side - 1) for rng in rngs])
    height = np.zeros((len(rngs), side, side))
    amplitude = 1.0
    used = 0
    step = side
    while step >= 2:
        half = step // 2
        cells = (side // step) ** 2
        # Views: filling the squares shows in the diamonds that follow.
        corners = height[:, ::step, ::step]
        centres = height[:, half::step, half::step]
        kicks = amplitude * noise[:, used : used + 3 * cells].reshape(-1, 3, *corners.shape[1:])
        used += 3 * cells

        pairs = corners + np.roll(corners, -1, axis=1)
        centres[...] = (pairs + np.roll(pairs, -1, axis=2)) / 4.0 + kicks[:, 0]
        above = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        height[:, ::step, half::step] = above / 4.0 + kicks[:, 1]
        left = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        height[:, half::step, ::step] = left / 4.0 + kicks[:, 2]

        step = half
        amplitude /= decay * decay
    height -= height.min(axis=(1, 2), keepdims=True)
    return np.asarray(height / height.max(axis=(1, 2), keepdims=True))
