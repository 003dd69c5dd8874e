"""One function for all 15 corruptions: the same image, name, severity and seed, the same result."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.corruptions import blur, digital, noise, weather
from bench.corruptions.frost import (
    CIFAR_SCALE,
    Texture,
    drawn_textures,
    fitted_textures,
    load_frost_textures,
)
from bench.corruptions.pixels import Pixels
from bench.corruptions.tables import SIDES, TABLES, TableName, scaled

GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""The published groups, in the published order."""

CORRUPTIONS: tuple[str, ...] = tuple(name for group in GROUPS.values() for name in group)
"""The 15 corruptions in the published order."""

LARGEST_CIFAR_SIDE = 64
SMALLEST_SIDE = 16
"""Below this the windows of the corruptions do not fit into the image."""

FrostTextures = str | Path | Sequence[Texture]
"""A folder of pictures, or pictures that are already loaded (RGB)."""

_PIXELS_AT_ONCE = 1 << 18
"""Bounds the memory of a call, about 100 MB, whatever the size of the batch."""

# Each takes (images, generators, its own parameter type); the tables pair them by name.
_FUNCTIONS: dict[str, Callable[..., Pixels]] = {
    name: getattr(module, name)
    for module, names in zip((noise, blur, weather, digital), GROUPS.values(), strict=True)
    for name in names
}


def corrupt(
    images: NDArray[np.uint8],
    name: str,
    severity: int,
    seed: int,
    *,
    table: Literal["auto", "cifar", "imagenet"] = "auto",
    first_index: int = 0,
    frost_textures: FrostTextures | None = None,
    to_scale: bool = False,
) -> NDArray[np.uint8]:
    """Corrupted copy of a frame or of a batch (Hendrycks and Dietterich, 2019).

    ``images``: uint8 (H, W, 3) or (n, H, W, 3), RGB, sides of at least 16; the result has the same
    shape. ``severity``: 1..5. ``table``: the published parameters to use; "auto" takes those of
    CIFAR-10-C when no side exceeds 64, those of ImageNet-C otherwise.

    Image i of a batch draws from its own generator, seeded by (seed, name, severity,
    first_index + i): how a set is cut into batches changes nothing when ``first_index`` says where
    a batch starts. ``frost_textures`` replaces the drawn textures of frost; a folder is read at
    every call, so load it once (``load_frost_textures``) for a stream. ``to_scale``: lengths in
    pixels grow with the picture's short side over that of the table's pictures.

    ValueError for arguments out of range; SourceError for a folder without readable pictures.
    """
    _check(images, name, severity, seed, table, first_index)
    batch = images if images.ndim == 4 else images[None]
    height, width = batch.shape[1:3]
    fitting: TableName = "cifar" if max(height, width) <= LARGEST_CIFAR_SIDE else "imagenet"
    chosen = fitting if table == "auto" else table
    parameter = TABLES[chosen][name][severity - 1]
    if to_scale:
        parameter = scaled(parameter, min(height, width) / SIDES[chosen])
    function = _FUNCTIONS[name]
    if name == "frost":
        panes = _panes(height, width, chosen, frost_textures)
        function = partial(function, textures=panes)

    result = np.empty_like(batch)
    chunk = max(1, _PIXELS_AT_ONCE // (height * width))
    for start in range(0, len(batch), chunk):
        part = batch[start : start + chunk]
        rngs = [generator(seed, name, severity, first_index + start + i) for i in range(len(part))]
        result[start : start + chunk] = function(part, rngs, parameter)
    return result.reshape(images.shape)


def generator(seed: int, name: str, severity: int, index: int) -> np.random.Generator:
    """The generator of one image; the name enters as its CRC-32, the same on every machine."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), severity, index])


def _panes(
    height: int, width: int, table: TableName, textures: FrostTextures | None
) -> tuple[Texture, ...]:
    scale = CIFAR_SCALE if table == "cifar" else 1.0
    if textures is None:
        return drawn_textures(height, width, scale)
    loaded = load_frost_textures(textures) if isinstance(textures, str | Path) else textures
    return fitted_textures(loaded, height, width, scale)


def _check(
    images: NDArray[np.uint8], name: str, severity: int, seed: int, table: str, first_index: int
) -> None:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
        raise ValueError(
            "images must be uint8 (H, W, 3) or (n, H, W, 3), "
            f"got {images.dtype} {tuple(images.shape)}"
        )
    if min(images.shape[-3:-1]) < SMALLEST_SIDE:
        raise ValueError(
            f"images must have sides of at least {SMALLEST_SIDE} pixels, "
            f"got {images.shape[-3]} x {images.shape[-2]}"
        )
    if name not in CORRUPTIONS:
        raise ValueError(f"name must be one of {', '.join(CORRUPTIONS)}, got {name!r}")
    if severity not in (1, 2, 3, 4, 5):
        raise ValueError(f"severity must be in 1..5, got {severity}")
    if table not in ("auto", *TABLES):
        raise ValueError(f"table must be auto, cifar or imagenet, got {table!r}")
    if seed < 0 or first_index < 0:
        raise ValueError(f"seed and first_index must not be negative, got {seed} and {first_index}")
