"""Corruptions behind the lens: contrast, warps, coarse pixels, JPEG.

ImageNet-C, group "digital". Every function takes uint8 images (n, H, W, 3), a generator for each,
and one published parameter.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.corruptions.pixels import Pixels, Reals, Rngs, to_pixels, to_unit
from bench.corruptions.resampling import box_means, mirrored, smoothing_matrix
from bench.corruptions.tables import Elastic


def contrast(images: Pixels, rngs: Rngs, factor: float) -> Pixels:
    """Pull every value towards the mean of its image and channel by ``factor``; draws nothing."""
    unit = to_unit(images)
    mean = unit.mean(axis=(1, 2), keepdims=True)
    return to_pixels((unit - mean) * factor + mean)


def elastic_transform(images: Pixels, rngs: Rngs, elastic: Elastic) -> Pixels:
    """Warp by a random affine map, then by a smooth random displacement of every pixel."""
    unit = to_unit(images).astype(np.float32)
    height, width = unit.shape[1:3]
    tilted = np.stack(
        [_random_affine(image, elastic.jitter, rng) for image, rng in zip(unit, rngs, strict=True)]
    )
    noise = np.stack([rng.uniform(-1.0, 1.0, size=(2, height, width)) for rng in rngs])
    # One large product for each axis: many small ones keep the threads of BLAS waiting.
    smooth = np.tensordot(noise, smoothing_matrix(width, elastic.sigma), axes=(3, 1))
    smooth = np.tensordot(smooth, smoothing_matrix(height, elastic.sigma), axes=(2, 1))
    shift = elastic.amplitude * smooth.swapaxes(2, 3)
    y = np.arange(height)[:, None] + shift[:, 0]
    x = np.arange(width)[None, :] + shift[:, 1]
    return to_pixels(_bilinear(tilted, y, x))


def pixelate(images: Pixels, rngs: Rngs, scale: float) -> Pixels:
    """Shrink by ``scale`` to means over boxes, then enlarge to the nearest pixel; draws nothing.

    As Pillow's BOX filter does, values are rounded to integers after each axis.
    """
    height, width = images.shape[1:3]
    small_height, small_width = int(height * scale), int(width * scale)
    small = box_means(box_means(images, small_width, axis=2), small_height, axis=1)
    row = ((np.arange(height) + 0.5) * (small_height / height)).astype(int)
    column = ((np.arange(width) + 0.5) * (small_width / width)).astype(int)
    return small[:, row[:, None], column[None, :]]


def jpeg_compression(images: Pixels, rngs: Rngs, quality: int) -> Pixels:
    """Encode as JPEG of libjpeg's ``quality`` and decode; draws nothing."""
    decoded = np.empty_like(images)
    for target, image in zip(decoded, images, strict=True):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        _, code = cv2.imencode(".jpg", image[..., ::-1], options)
        target[...] = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1]
    return decoded


def _random_affine(
    image: NDArray[np.float32], jitter: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Map three corners of the middle square to places up to ``jitter`` pixels off on each axis."""
    height, width = image.shape[:2]
    x, y, arm = width // 2, height // 2, min(height, width) // 3
    corners = np.array([[x + arm, y + arm], [x + arm, y - arm], [x - arm, y - arm]], np.float32)
    moved = corners + rng.uniform(-jitter, jitter, size=(3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    warped = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, dtype=np.float32)


def _bilinear(images: NDArray[np.float32], y: Reals, x: Reals) -> NDArray[np.float32]:
    """Values of images (n, H, W, 3) at rows y and columns x (n, H, W), mirrored at the edges.

    Own code, because cv2.remap rounds coordinates to 1/32 pixel.
    """
    n, height, width, channels = images.shape
    flat = images.reshape(n * height * width, channels)
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down = (y - top).astype(np.float32)[..., None]
    right = (x - left).astype(np.float32)[..., None]
    start = (np.arange(n) * height * width)[:, None, None]
    upper, lower = (
        start + mirrored(top, height) * width,
        start + mirrored(top + 1, height) * width,
    )
    first, second = mirrored(left, width), mirrored(left + 1, width)
    above = flat[upper + first] * (1 - right) + flat[upper + second] * right
    below = flat[lower + first] * (1 - right) + flat[lower + second] * right
    return np.asarray(above * (1 - down) + below * down, dtype=np.float32)
