"""Pictures to test with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Save = Callable[[Path, Pixels], Path]


def textured(seed: int, height: int = 48, width: int = 64) -> Pixels:
    """A smooth random RGB picture: compresses like a photograph, never flat or black."""
    noise = np.random.default_rng(seed).integers(30, 226, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
