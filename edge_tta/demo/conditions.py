"""Conditions of the road: fog, night, motion blur, glare, rain on the lens.

Draws do not depend on the severity, so that the same state of a generator at a growing severity is
one weather growing worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Frame: TypeAlias = NDArray[np.uint8]
Plane: TypeAlias = NDArray[np.float32]
Chance: TypeAlias = np.random.Generator


class Condition(Protocol):
    """A disturbance of the picture: a frame, uint8 (H, W, 3) RGB, becomes another of its size.

    severity: in [0, 1]; 0 changes nothing. rng: decides what stays for a while, as where the sun
    stands. flicker: decides what changes from frame to frame, as falling rain; without it rng does.
    """

    def __call__(
        self, frame: Frame, severity: float, rng: Chance, flicker: Chance | None = None
    ) -> Frame: ...


def _checked(change: Callable[[Frame, float, Chance, Chance], Frame]) -> Condition:
    """Make a condition of a change that is told both generators."""

    def condition(
        frame: Frame, severity: float, rng: Chance, flicker: Chance | None = None
    ) -> Frame:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"frame must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
        if not 0.0 <= severity <= 1.0:
            raise ValueError(f"severity must be in [0, 1], got {severity}")
        changed = change(frame, severity, rng, flicker or rng)
        return changed if severity > 0.0 else frame.copy()

    return condition


def _finish(picture: NDArray[np.floating[Any]]) -> Frame:
    finished: Frame = np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)
    return finished


def _grid(frame: Frame) -> tuple[Plane, Plane]:
    """Columns (1, W) and rows (H, 1), in frame widths."""
    height, width = frame.shape[:2]
    x = np.arange(width, dtype=np.float32)[None] / np.float32(width)
    y = np.arange(height, dtype=np.float32)[:, None] / np.float32(width)
    return x, y


def _clouds(rng: Chance, frame: Frame, cells: int) -> Plane:
    """Smooth random values, (H, W, 1), roughly in [-1, 1]."""
    coarse = rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
    height, width = frame.shape[:2]
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth.astype(np.float32)[..., None]


def _fog(frame: Frame, severity: float, rng: Chance, flicker: Chance) -> Frame:
    """Grey air in drifting banks: transmission and contrast fall, far edges soften."""
    banks = _clouds(rng, frame, 4)
    colour = rng.uniform(188, 222) + np.array([-3.0, 0.0, 4.0], np.float32)
    veil = np.clip(severity * (0.46 + 0.1 * banks), 0.0, 1.0)
    blurred = cv2.GaussianBlur(frame, (0, 0), 0.1 + 1.1 * severity)
    return _finish(blurred * (1.0 - veil) + colour.astype(np.float32) * veil)


def _night(frame: Frame, severity: float, rng: Chance, flicker: Chance) -> Frame:
    """Little light, bluish, with shot and read noise of a small sensor, coarser in colour."""
    tint = np.array([0.86, 0.97, 1.16], np.float32) + rng.uniform(-0.05, 0.05, 3).astype(np.float32)
    height, width = frame.shape[:2]
    fine = flicker.standard_normal((height, width, 1), np.float32)
    coarse = flicker.standard_normal(((height + 2) // 3, (width + 2) // 3, 3), np.float32)
    x, y = _grid(frame)
    falloff = 1.0 - 0.5 * severity * ((x - 0.5) ** 2 + (y - 0.5) ** 2)[..., None]
    tinted = 1.0 + severity * (tint - 1.0)
    dark = frame * (falloff * tinted * np.float32(1.0 - 0.66 * severity))
    colour_noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    shot = np.sqrt(dark + 4.0)
    return _finish(dark + severity * shot * (1.4 * fine + 1.1 * colour_noise))


def _motion_blur(frame: Frame, severity: float, rng: Chance, flicker: Chance) -> Frame:
    """The mean of the frame along a straight path, mostly sideways."""
    angle = rng.uniform(-0.7, 0.7)
    jolt = flicker.uniform(0.85, 1.15)
    length = 0.1 * frame.shape[1] * severity * jolt
    along = np.linspace(-0.5, 0.5, 65) * length
    reach = int(length / 2) + 1
    bins = np.arange(-reach, reach + 2) - 0.5
    path = (along * np.sin(angle), along * np.cos(angle))
    kernel = np.histogram2d(*path, bins=(bins, bins))[0] / along.size
    return cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.uint8)


def _glare(frame: Frame, severity: float, rng: Chance, flicker: Chance) -> Frame:
    """A low sun: bloom with rays, reflections in the lens, and a veil that takes the contrast."""
    sun_x, sun_y = rng.uniform(0.12, 0.88), rng.uniform(0.03, 0.35)
    phase, ghosts = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.4, 1.6, 3)
    pulse = flicker.uniform(0.95, 1.05)
    x, y = _grid(frame)
    dx, dy = x - np.float32(sun_x), y - np.float32(sun_y)
    distance = np.sqrt(dx * dx + dy * dy)
    angle = np.arctan2(dy, dx)
    rays = 1.0 + 0.3 * np.cos(6 * angle + phase[0]) * np.cos(11 * angle + phase[1])
    light = np.exp(-((distance / 0.09) ** 2)) + 0.75 * rays * np.exp(-distance / 0.34)
    for place, size in zip(ghosts, (0.05, 0.09, 0.035), strict=True):
        gx, gy = sun_x + place * (1 - 2 * sun_x), sun_y + place * (1 - 2 * sun_y)
        inside = size - np.hypot(x - gx, y - gy)
        light += 0.1 * np.clip(inside * 60, 0.0, 1.0)
    veil = np.clip(severity * pulse * (0.18 + 0.62 * light), 0.0, 0.97)[..., None].astype(
        np.float32
    )
    warm = np.array([255.0, 244.0, 220.0], np.float32)
    return _finish(frame * (1.0 - veil) + warm * veil)


def _drops(drops: Plane, height: int, width: int) -> tuple[Plane, Plane, Plane, Plane]:
    """Return the drops' cover of the lens, their brightness, and the place (x, y) each shows.

    `drops` (n, 5) in [0, 1]: x, y, size, length, refraction. A drop is a small wide-angle lens:
    the further from its centre, the further away, and on the other side, lies what it shows.
    """
    rx = width * (0.012 + 0.055 * drops[:, 2] ** 4)  # many small drops, few large ones
    ry = rx * (1.0 + 0.5 * drops[:, 3])
    cx, cy = drops[:, 0] * width, drops[:, 1] * height
    cover, gleam = np.zeros(height * width, np.float32), np.ones(height * width, np.float32)
    map_x = np.tile(np.arange(width, dtype=np.float32), height)
    map_y = np.repeat(np.arange(height, dtype=np.float32), width)
    # Small drops, then large ones: all windows of one array are as large as the largest.
    large = rx > 0.03 * width
    for group in (np.flatnonzero(~large), np.flatnonzero(large)):
        if not group.size:
            continue
        half = int(ry[group].max()) + 2
        steps = np.arange(-half, half + 1)
        columns = np.rint(cx[group]).astype(np.intp)[:, None] + steps
        rows = np.rint(cy[group]).astype(np.intp)[:, None] + steps
        x = (columns - cx[group, None]) / rx[group, None]
        y = (rows - cy[group, None]) / ry[group, None]
        seen = (x * x)[:, None, :] + (y * y)[:, :, None] < 1.0
        seen &= ((columns >= 0) & (columns < width))[:, None, :]
        seen &= ((rows >= 0) & (rows < height))[:, :, None]
        drop, row, column = np.nonzero(seen)
        u, v = x[drop, column], y[drop, row]
        which, square = group[drop], u * u + v * v
        place = rows[drop, row] * width + columns[drop, column]
        field = -(1.6 + 1.6 * drops[which, 4]) * (1.0 + square)
        map_x[place] = cx[which] + field * u * rx[which]
        map_y[place] = cy[which] + field * v * ry[which]
        cover[place] = np.clip((1.0 - square) * rx[which] * 0.5, 0.0, 1.0)
        glint = np.exp(-((u + 0.35) ** 2 + (v + 0.4) ** 2) / 0.05)
        gleam[place] = 1.12 - 0.45 * square - 0.25 * v + 0.9 * glint
    shape = (height, width)
    return cover.reshape(shape), gleam.reshape(shape), map_x.reshape(shape), map_y.reshape(shape)


def _rain(frame: Frame, severity: float, rng: Chance, flicker: Chance) -> Frame:
    """Drops on the lens, each a small upside-down picture of the scene, and falling streaks."""
    height, width = frame.shape[:2]
    drops = rng.random((110, 5)).astype(np.float32)
    slant = rng.uniform(-0.35, 0.35)
    starts = flicker.random((90, 3))
    hazy = cv2.GaussianBlur(frame, (0, 0), 0.1 + 0.9 * severity)
    wet = hazy + severity * 0.3 * (np.float32(150.0) - hazy)

    streaks = np.zeros((height, width), np.uint8)
    falling = starts[: round(severity * len(starts))]
    begin = falling[:, :2] * (width, height)
    end = begin + (0.05 + 0.1 * falling[:, 2:]) * height * np.array([slant, 1.0])
    lines = np.rint(np.stack([begin, end], axis=1) * 16).astype(np.int32)
    cv2.polylines(streaks, list(lines), False, 255, 1, cv2.LINE_AA, 4)
    wet += (streaks * np.float32(0.3 / 255))[..., None] * (230.0 - wet)

    cover, gleam, map_x, map_y = _drops(drops[: round(severity * len(drops))], height, width)
    through = cv2.remap(hazy, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    wet += cover[..., None] * (through * gleam[..., None] - wet)
    return _finish(wet)


_CHANGES = {
    "fog": _fog,
    "night": _night,
    "motion blur": _motion_blur,
    "glare": _glare,
    "rain": _rain,
}
CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {name: _checked(change) for name, change in _CHANGES.items()}
)
