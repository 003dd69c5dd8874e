"""Small pictures for sets, each different from all others."""

from __future__ import annotations

import numpy as np

from tests.frames.media import Pixels, textured

N, SIZE = 6, 20
LABELS = np.array([0, 1, 2, 0, 1, 2])
CLASSES = ("cat", "dog", "owl")


def pictures(seed: int, n: int = N, size: int = SIZE) -> Pixels:
    """Pictures (n, size, size, 3) that no other seed gives."""
    return np.stack([textured(1000 * seed + i, size, size) for i in range(n)])
