"""Linear motion blur with ImageMagick's kernel, which the published scripts call."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.corruptions.tables import Motion


def motion_kernel(blur: Motion, angle: float) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Kernel (rows, columns) of weights that sum to one, and its anchor (column, row).

    Tap i of 0 .. 2 * radius lies i pixels from the anchor in the direction ``angle`` (degrees, 0 is
    right, 90 is down), each coordinate rounded to the nearest pixel, halves down. Its weight is
    exp(-i^2 / (2 sigma^2)): half a Gaussian, so the picture smears to one side.
    """
    taps = np.arange(2 * blur.radius + 1)
    weights = np.exp(-(taps**2) / (2.0 * blur.sigma**2))
    direction = math.radians(angle)
    columns = np.ceil(taps * math.cos(direction) - 0.5).astype(int)
    rows = np.ceil(taps * math.sin(direction) - 0.5).astype(int)

    kernel = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1))
    np.add.at(kernel, (rows - rows.min(), columns - columns.min()), weights / weights.sum())
    return kernel.astype(np.float32), (-int(columns.min()), -int(rows.min()))


def motion_blurred(image: NDArray[np.uint8], blur: Motion, angle: float) -> NDArray[np.uint8]:
    """Blur one uint8 image, (H, W) or (H, W, 3), along ``angle``; the border pixels are repeated.

    ImageMagick works with 16 bits, rounds there, and cuts the fraction when it returns to 8.
    """
    kernel, anchor = motion_kernel(blur, angle)
    deep = image.astype(np.uint16) * 257
    blurred = cv2.filter2D(deep, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred // 257, dtype=np.uint8)
