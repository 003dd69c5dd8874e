"""Textures for frost: crystals that are drawn here, or pictures from a folder of the user's.

The published script crops photographs of frosted panes, which this project does not carry. Five
drawn textures stand in for them, with about the tint, brightness and contrast of those photographs
(mean grey 120 to 210, standard deviation 18 to 42) and crystals of several sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.corruptions.pixels import Reals
from edge_tta.errors import SourceError

Texture = NDArray[np.uint8]
"""A frosted pane, uint8 (H, W, 3), RGB."""

CIFAR_SCALE = 0.2
"""The CIFAR script shrinks its photographs to this, so that crystals suit a 32 x 32 image."""

PANE_SIDE = 512
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


class Pane(NamedTuple):
    """Look of a drawn texture: mean RGB and standard deviation of grey, 0..255; feather lengths."""

    tint: tuple[float, float, float]
    contrast: float
    shortest: float
    longest: float


PANES = (
    Pane((80.0, 150.0, 166.0), 18.0, 8.0, 40.0),
    Pane((201.0, 205.0, 214.0), 22.0, 20.0, 90.0),
    Pane((198.0, 204.0, 214.0), 22.0, 30.0, 120.0),
    Pane((138.0, 153.0, 165.0), 28.0, 10.0, 50.0),
    Pane((112.0, 123.0, 135.0), 42.0, 30.0, 140.0),
)


@lru_cache(maxsize=2)
def drawn_textures(height: int, width: int, scale: float) -> tuple[Texture, ...]:
    """The five drawn panes, always the same, fitted to frames of one size and kept for the next."""
    return fitted_textures(_drawn(), height, width, scale)


@lru_cache(maxsize=1)
def _drawn() -> tuple[Texture, ...]:
    # Takes about a second, so only when frost is first asked for.
    return tuple(draw_pane(pane, np.random.default_rng(i)) for i, pane in enumerate(PANES))


def fitted_textures(
    textures: Sequence[Texture], height: int, width: int, scale: float
) -> tuple[Texture, ...]:
    """Textures at ``scale``, enlarged where needed to exceed height and width.

    ValueError unless each is uint8 (H, W, 3) and there is one at least.
    """
    if not textures:
        raise ValueError("frost_textures must hold at least one texture, got none")
    fitted = []
    for texture in textures:
        if texture.dtype != np.uint8 or texture.ndim != 3 or texture.shape[2] != 3:
            raise ValueError(
                "a frost texture must be uint8 (H, W, 3), "
                f"got {texture.dtype} {tuple(texture.shape)}"
            )
        needed = max((height + 1) / texture.shape[0], (width + 1) / texture.shape[1])
        fitted.append(_resized(texture, max(scale, needed)))
    return tuple(fitted)


def load_frost_textures(folder: str | Path) -> tuple[Texture, ...]:
    """The pictures of a folder, in the order of their names, as RGB. SourceError if it has none."""
    folder = Path(folder)
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in _SUFFIXES)
    textures = []
    for path in paths:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise SourceError(f"{path} is not a readable picture; remove it or replace it")
        textures.append(np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8))
    if not textures:
        raise SourceError(
            f"no frost textures in {folder}: expected pictures "
            f"({', '.join(sorted(_SUFFIXES))}); give another folder or leave it out"
        )
    return tuple(textures)


def draw_pane(pane: Pane, rng: np.random.Generator) -> Texture:
    """Draw a frosted pane (512, 512, 3): feathers of ice, lit from one side, of uneven brightness.

    Two thirds of the variance are detail (height and slope of the ice), one third a slow change of
    light, about as in photographs; the sum is stretched to the pane's mean and standard deviation.
    """
    ice = _feathers(pane, rng)
    slope = cv2.filter2D(ice, -1, np.array([[1, 1, 0], [1, 0, -1], [0, -1, -1]], np.float32))
    light = cv2.GaussianBlur(rng.normal(size=ice.shape), (0, 0), PANE_SIDE / 12)
    detail = _standard(ice) + 0.7 * _standard(slope)
    shade = pane.contrast * _standard(_standard(detail) + 0.7 * _standard(light))
    coloured: Reals = np.clip(shade[..., None] + np.array(pane.tint), 0, 255)
    return coloured.astype(np.uint8)


def _feathers(pane: Pane, rng: np.random.Generator) -> NDArray[np.float32]:
    """Height of the ice, float32 (512, 512): each feather is a stem with barbs at 60 degrees."""
    ice = np.zeros((PANE_SIDE, PANE_SIDE), np.uint8)
    mean_length = (pane.shortest + pane.longest) / 2
    for _ in range(int(8 * (PANE_SIDE / mean_length) ** 2)):
        start = rng.uniform(0, PANE_SIDE, size=2)
        length = rng.uniform(pane.shortest, pane.longest)
        angle = rng.uniform(0, 2 * math.pi)
        level = rng.uniform(60, 255)
        stem = length * np.array([math.cos(angle), math.sin(angle)])

        # Barbs leave the stem every two to six pixels, so that no pattern shows.
        along = np.cumsum(rng.uniform(2.0, 6.0, size=int(length / 2.0) + 1)) / length
        along = along[along < 1.0]
        reach = 0.45 * length * (1.0 - along) * rng.uniform(0.3, 1.0, size=(2, along.size))
        turn = np.array([[-math.pi / 3], [math.pi / 3]])
        turn = angle + turn + rng.normal(scale=0.12, size=reach.shape)
        roots = np.broadcast_to(start + along[:, None] * stem, (2, along.size, 2))
        tips = roots + reach[..., None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        barbs = np.stack([roots, tips], axis=2).reshape(-1, 2, 2)

        _draw(ice, barbs, 0.75 * level)
        _draw(ice, np.stack([start, start + stem])[None], level)
    return np.asarray(cv2.GaussianBlur(ice.astype(np.float32), (0, 0), 0.8), dtype=np.float32)


def _draw(ice: NDArray[np.uint8], lines: Reals, level: float) -> None:
    # OpenCV takes points in sixteenths of a pixel when it is told to shift by four bits.
    points = (16 * lines).astype(np.int32)
    cv2.polylines(ice, list(points), False, (level,), 1, cv2.LINE_AA, 4)


def _standard(values: ArrayLike) -> Reals:
    array = np.asarray(values, dtype=np.float64)
    return np.asarray((array - array.mean()) / array.std())


def _resized(texture: Texture, scale: float) -> Texture:
    if scale == 1.0:
        return texture
    return np.asarray(cv2.resize(texture, None, fx=scale, fy=scale), dtype=np.uint8)
