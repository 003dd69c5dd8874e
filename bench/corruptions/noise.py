"""Noise of the sensor: thermal, photon and defective-pixel noise (ImageNet-C, group "noise").

Every function takes uint8 images (n, H, W, 3), a generator for each, and one published parameter.
"""

from __future__ import annotations

import numpy as np

from bench.corruptions.pixels import Pixels, Rngs, to_pixels, to_unit


def gaussian_noise(images: Pixels, rngs: Rngs, std: float) -> Pixels:
    """Add independent normal noise to every value; ``std`` is in units of full intensity."""
    noise = np.stack([rng.normal(scale=std, size=images.shape[1:]) for rng in rngs])
    return to_pixels(to_unit(images) + noise)


def shot_noise(images: Pixels, rngs: Rngs, photons: float) -> Pixels:
    """Replace every value by a Poisson count; full intensity is ``photons`` on average."""
    expected = to_unit(images) * photons
    counts = np.stack([rng.poisson(mean) for rng, mean in zip(rngs, expected, strict=True)])
    return to_pixels(counts / photons)


def impulse_noise(images: Pixels, rngs: Rngs, share: float) -> Pixels:
    """Set a ``share`` of the values, each channel by itself, to black or white with equal odds."""
    noisy = images.copy()
    for image, rng in zip(noisy, rngs, strict=True):
        # One uniform draw decides both: below half the share is black, above it white.
        draw = rng.random(image.shape)
        image[draw < share] = 255
        image[draw < share / 2] = 0
    return noisy
