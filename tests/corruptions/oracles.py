"""Slow and obvious versions of what the corruptions do, as the published scripts do it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def plain_plasma(side: int, decay: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Diamond-square point by point, in the order in which ``plasma`` uses its noise."""
    noise = iter(rng.uniform(-1.0, 1.0, size=side * side - 1))
    height = np.zeros((side, side))
    step, amplitude = side, 1.0
    while step >= 2:
        half = step // 2
        for shift, neighbours in (
            ((half, half), ((-half, -half), (-half, half), (half, -half), (half, half))),
            ((0, half), ((-half, 0), (half, 0), (0, -half), (0, half))),
            ((half, 0), ((-half, 0), (half, 0), (0, -half), (0, half))),
        ):
            for row in range(shift[0], side, step):
                for column in range(shift[1], side, step):
                    around = [height[(row + r) % side, (column + c) % side] for r, c in neighbours]
                    height[row, column] = sum(around) / 4 + amplitude * next(noise)
        step, amplitude = half, amplitude / decay**2
    height -= height.min()
    return np.asarray(height / height.max())


def published_shuffle(
    height: int, width: int, reach: int, offset: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The published loop, with its exchange of views, over pixels that hold their own index."""
    picture = np.arange(height * width).reshape(height, width, 1)
    for row in range(height - reach, reach, -1):
        for column in range(width - reach, reach, -1):
            down, right = offset[:, row - reach - 1, column - reach - 1]
            here, there = picture[row, column], picture[row + down, column + right]
            here[:], there[:] = there, here
    return picture.ravel()
