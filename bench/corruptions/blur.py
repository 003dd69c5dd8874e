"""Blur: defocus, frosted glass, motion and zoom (ImageNet-C, group "blur").

Every function takes uint8 images (n, H, W, 3), a generator for each, and one published parameter.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.corruptions.motion import motion_blurred
from bench.corruptions.pixels import Pixels, Reals, Rngs, to_pixels, to_unit
from bench.corruptions.resampling import zoomed
from bench.corruptions.tables import Disk, Glass, Motion, Zoom


def disk_kernel(disk: Disk) -> NDArray[np.float32]:
    """Kernel of a lens out of focus: a disk with a softened rim, an odd square.

    Pixels whose centre lies within ``radius`` weigh the same; a Gaussian of ``rim_sigma``, 3 x 3
    pixels up to radius 8 and 5 x 5 above, then takes the steps off the rim. The published grid ends
    8 pixels (or a larger radius) from the centre and is mirrored there, so that the kernel sums to
    one below radius 8, to 1.013 at 8 and to 1.011 at 10: those pictures brighten a little.
    """
    rim = 1 if disk.radius <= 8 else 2
    grid = max(int(disk.radius), 8)
    line = np.arange(-grid, grid + 1)
    inside = (line[:, None] ** 2 + line[None, :] ** 2 <= disk.radius**2).astype(np.float32)
    side = 2 * rim + 1
    softened = cv2.GaussianBlur(inside / inside.sum(), (side, side), disk.rim_sigma)
    # The rest of the grid is zero: without it the convolution is many times faster.
    cut = grid - min(int(disk.radius) + rim, grid)
    return np.asarray(softened, dtype=np.float32)[
        cut : 2 * grid + 1 - cut, cut : 2 * grid + 1 - cut
    ]


def defocus_blur(images: Pixels, rngs: Rngs, disk: Disk) -> Pixels:
    """Convolve with ``disk_kernel``; draws nothing."""
    kernel = disk_kernel(disk)
    return to_pixels(np.stack([cv2.filter2D(image, -1, kernel) for image in to_unit(images)]))


def glass_blur(images: Pixels, rngs: Rngs, glass: Glass) -> Pixels:
    """Blur, let every pixel take the value of a random near one, blur again."""
    shuffled = (_gaussian_blurred(to_unit(images), glass.sigma) * 255.0).astype(np.uint8)
    n, height, width, _ = shuffled.shape
    for _ in range(glass.passes):
        origins = np.stack([glass_origins(height, width, glass.reach, rng) for rng in rngs])
        flat = shuffled.reshape(n, height * width, 3)
        shuffled = np.take_along_axis(flat, origins[:, :, None], axis=1).reshape(images.shape)
    return to_pixels(_gaussian_blurred(to_unit(shuffled), glass.sigma))


def glass_origins(
    height: int, width: int, reach: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Flat index (H * W,), for each pixel of one pass, of the pixel whose value it ends up with.

    The published loop visits pixels from the bottom right to the top left, leaving a margin of
    ``reach`` (one more at the top and left), and lets each exchange values with the pixel at an
    offset in -reach .. reach - 1. Its exchange of numpy views, ``a, b = b, a``, in fact copies b
    to a and leaves b as it is; the published data hold that, so it is what happens here.

    A pixel that copies from one which was visited earlier gets what that one had copied. These
    chains are followed by pointer doubling, all pixels at once, in place of the loop.
    """
    rows = np.arange(reach + 1, height - reach + 1)[:, None]
    columns = np.arange(reach + 1, width - reach + 1)[None, :]
    offset = rng.integers(-reach, reach, size=(2, rows.size, columns.size))
    source_rows, source_columns = rows + offset[0], columns + offset[1]

    earlier = (offset[0] > 0) | ((offset[0] == 0) & (offset[1] > 0))
    visited = (
        (source_rows > reach)
        & (source_rows <= height - reach)
        & (source_columns > reach)
        & (source_columns <= width - reach)
    )
    origin = np.arange(height * width).reshape(height, width)
    chained = np.zeros((height, width), dtype=bool)
    inner = np.s_[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    origin[inner] = source_rows * width + source_columns
    chained[inner] = earlier & visited

    flat, unresolved = origin.reshape(-1), chained.reshape(-1)
    while unresolved.any():
        link = np.flatnonzero(unresolved)
        via = flat[link]
        flat[link], unresolved[link] = flat[via], unresolved[via]
    return flat


def motion_blur(images: Pixels, rngs: Rngs, motion: Motion) -> Pixels:
    """Smear along a line whose angle is uniform in -45 .. 45 degrees."""
    return np.stack(
        [
            motion_blurred(image, motion, rng.uniform(-45.0, 45.0))
            for image, rng in zip(images, rngs, strict=True)
        ]
    )


def zoom_blur(images: Pixels, rngs: Rngs, zoom: Zoom) -> Pixels:
    """Mean of the picture and of itself at rising magnifications; draws nothing."""
    unit = to_unit(images).astype(np.float32)
    factors = np.arange(1.0, zoom.stop, zoom.step)
    total = unit.copy()
    for factor in factors:
        total += zoomed(unit, float(factor))
    return to_pixels(total / (len(factors) + 1))


def _gaussian_blurred(unit: Reals, sigma: float) -> Reals:
    """Gaussian cut at 4 sigma, border pixels repeated, on every image (n, H, W, 3)."""
    side = 2 * int(4.0 * sigma + 0.5) + 1
    if side == 1:
        return unit
    blurred = [
        cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
        for image in unit
    ]
    return np.stack(blurred)
