"""Types and conversions shared by the corruptions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Images, uint8 (n, H, W, 3), RGB."""

Reals = NDArray[np.float64]

Rngs = Sequence[np.random.Generator]
"""One generator for each image, so that an image does not depend on its neighbours."""


def to_unit(images: Pixels) -> Reals:
    """Intensities in [0, 1], float64, of images in 0..255."""
    return images / 255.0


def to_pixels(unit: NDArray[np.floating]) -> Pixels:
    """Images in 0..255 of intensities that should be in [0, 1]; what lies outside is clipped.

    Fractions are cut, not rounded, as in the published scripts: it darkens by half a grey level.
    """
    scaled: NDArray[np.floating] = np.clip(unit, 0.0, 1.0) * 255.0
    return scaled.astype(np.uint8)
