"""Weather: snow, frost, fog and brightness (ImageNet-C, group "weather").

Every function takes uint8 images (n, H, W, 3), a generator for each, and one published parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.corruptions.motion import motion_blurred
from bench.corruptions.pixels import Pixels, Reals, Rngs, to_pixels, to_unit
from bench.corruptions.resampling import zoomed
from bench.corruptions.tables import Fog, Frost, Snow

_LUMA = np.array([0.299, 0.587, 0.114])


def snow(images: Pixels, rngs: Rngs, snow: Snow) -> Pixels:
    """Whiten the picture, then add falling flakes, once upright and once turned by 180 degrees."""
    unit = to_unit(images)
    height, width = unit.shape[1:3]
    noise = np.stack([rng.normal(snow.mean, snow.std, size=(height, width, 1)) for rng in rngs])
    flakes = zoomed(noise, snow.magnification)[..., 0]
    flakes[flakes < snow.threshold] = 0.0
    falling = np.stack(
        [
            motion_blurred(layer, snow.fall, rng.uniform(-135.0, -45.0))
            for layer, rng in zip(to_pixels(flakes), rngs, strict=True)
        ]
    )
    layer = to_unit(falling)[..., None]

    white = np.maximum(unit, 1.5 * (unit @ _LUMA)[..., None] + 0.5)
    whitened = snow.keep * unit + (1.0 - snow.keep) * white
    return to_pixels(whitened + layer + layer[:, ::-1, ::-1])


def frost(images: Pixels, rngs: Rngs, frost: Frost, textures: Sequence[Pixels]) -> Pixels:
    """Add a random crop of a random texture; every texture is larger than the images."""
    height, width = images.shape[1:3]
    crops = np.empty_like(images)
    for crop, rng in zip(crops, rngs, strict=True):
        texture = textures[int(rng.integers(len(textures)))]
        top = rng.integers(texture.shape[0] - height)
        left = rng.integers(texture.shape[1] - width)
        crop[...] = texture[top : top + height, left : left + width]
    mixed = frost.picture * images + frost.texture * crops
    return np.clip(mixed, 0.0, 255.0).astype(np.uint8)


def fog(images: Pixels, rngs: Rngs, fog: Fog) -> Pixels:
    """Add plasma of weight ``density``, then scale back to the brightest value of the picture."""
    unit = to_unit(images)
    height, width = unit.shape[1:3]
    side = 1 << (max(height, width) - 1).bit_length()
    haze = fog.density * plasma(side, fog.decay, rngs)[:, :height, :width, None]
    brightest = unit.max(axis=(1, 2, 3), keepdims=True)
    return to_pixels((unit + haze) * brightest / (brightest + fog.density))


def brightness(images: Pixels, rngs: Rngs, gain: float) -> Pixels:
    """Add ``gain`` to the value of HSV, up to 1; hue and saturation stay. Draws nothing.

    At fixed hue and saturation RGB is proportional to the value; black becomes grey.
    """
    unit = to_unit(images)
    value = unit.max(axis=3, keepdims=True)
    shade = np.divide(unit, value, out=np.ones_like(unit), where=value > 0)
    return to_pixels(shade * np.minimum(value + gain, 1.0))


def plasma(side: int, decay: float, rngs: Rngs) -> Reals:
    """One height map (n, side, side) for each generator, each stretched to exactly [0, 1].

    A plasma fractal by the diamond-square algorithm, wrapped round at its edges.

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
