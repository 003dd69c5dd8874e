"""Faces of the twelve road signs on their pole, drawn once and kept as small RGBA pictures.

Shapes follow the Vienna Convention on Road Signs and Signals (1968).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_tta.demo.strokes import (
    HALF,
    MARGIN,
    Colour,
    Picture,
    arc,
    arrow,
    box,
    disc,
    fill,
    rounded,
    stroke,
    text,
)

# The pole ends this many sign units below the centre of the face, below every frame's edge.
POLE_END = 6.5

_RED: Colour = (196, 22, 34)
_BLUE: Colour = (12, 82, 166)
_WHITE: Colour = (244, 244, 240)
_BLACK: Colour = (22, 22, 24)
_YELLOW: Colour = (250, 196, 12)
_METAL: Colour = (168, 172, 176)


def _ring(canvas: Picture) -> None:
    """The red ring of a prohibition."""
    disc(canvas, 0.98, _WHITE)
    disc(canvas, 0.95, _RED)
    disc(canvas, 0.71, _WHITE)


def _warning(turn: float, y: float, canvas: Picture) -> None:
    """A white triangle with a red border; `turn` -90 points up, 90 points down."""
    rounded(canvas, 3, 1.2, turn, y, 0.12, _WHITE)
    rounded(canvas, 3, 1.14, turn, y, 0.1, _RED)
    rounded(canvas, 3, 0.66, turn, y, 0.03, _WHITE)


def _mandatory(canvas: Picture) -> None:
    disc(canvas, 0.98, _WHITE)
    disc(canvas, 0.92, _BLUE)


def _stop(canvas: Picture) -> None:
    rounded(canvas, 8, 1.04, 22.5, 0.0, 0.05, _WHITE)
    rounded(canvas, 8, 0.97, 22.5, 0.0, 0.03, _RED)
    text(canvas, "STOP", 0.56, 0.11, _WHITE, condensed=0.75)


def _speed(limit: str, canvas: Picture) -> None:
    _ring(canvas)
    text(canvas, limit, 0.66, 0.16, _BLACK)


def _no_entry(canvas: Picture) -> None:
    disc(canvas, 0.98, _WHITE)
    disc(canvas, 0.94, _RED)
    fill(canvas, box(0.0, 0.0, 1.36, 0.34), _WHITE)


def _priority_road(canvas: Picture) -> None:
    rounded(canvas, 4, 1.04, 0, 0.0, 0.08, _BLACK)
    rounded(canvas, 4, 1.0, 0, 0.0, 0.07, _WHITE)
    rounded(canvas, 4, 0.7, 0, 0.0, 0.04, _YELLOW)


def _turn(side: float, canvas: Picture) -> None:
    _mandatory(canvas)
    bend = np.concatenate([[(-0.26, 0.6)], arc(0.02, 0.06, 0.28, 0.28, 180, 270), [(0.2, -0.22)]])
    arrow(canvas, bend * (side, 1.0), 0.24, 0.42, _WHITE)


def _crossing(canvas: Picture) -> None:
    rounded(canvas, 4, 1.37, 45, 0.0, 0.1, _WHITE)
    rounded(canvas, 4, 1.29, 45, 0.0, 0.08, _BLUE)
    fill(canvas, np.array([(0.0, -0.82), (0.84, 0.7), (-0.84, 0.7)]), _WHITE)
    for x in (-0.5, -0.17, 0.17, 0.5):
        near = x * 1.1
        stripe = [(x - 0.05, 0.52), (x + 0.07, 0.52), (near + 0.1, 0.66), (near - 0.08, 0.66)]
        fill(canvas, np.array(stripe), _BLACK)
    disc(canvas, 0.12, _BLACK, 0.02, -0.38)
    stroke(canvas, np.array([(0.02, -0.16), (-0.02, 0.12)]), 0.2, _BLACK)
    stroke(canvas, np.array([(-0.02, 0.12), (0.12, 0.26), (0.14, 0.46)]), 0.11, _BLACK)
    stroke(canvas, np.array([(-0.04, 0.12), (-0.1, 0.28), (-0.26, 0.44)]), 0.11, _BLACK)
    stroke(canvas, np.array([(0.04, -0.16), (0.18, -0.02), (0.28, 0.02)]), 0.08, _BLACK)
    stroke(canvas, np.array([(0.0, -0.16), (-0.16, -0.02), (-0.2, 0.12)]), 0.08, _BLACK)


def _roundabout(canvas: Picture) -> None:
    _mandatory(canvas)
    for turn in (-90, 30, 150):
        arrow(canvas, arc(0.0, 0.0, 0.5, 0.5, turn + 94, turn + 30), 0.19, 0.26, _WHITE, bend=-14)


def _car(canvas: Picture, x: float, colour: Colour) -> None:
    """A car from behind, centred at x."""
    for wheel in (-0.19, 0.19):
        fill(canvas, box(x + wheel, 0.3, 0.13, 0.2), colour)
    fill(canvas, box(x, 0.1, 0.42, 0.16), colour)
    stroke(canvas, box(x, 0.1, 0.42, 0.16), 0.14, colour, closed=True)
    roof = np.array([(-0.26, 0.02), (-0.16, -0.3), (0.16, -0.3), (0.26, 0.02)])
    fill(canvas, roof + np.array((x, 0.0)), colour)
    fill(canvas, (roof - (0.0, -0.14)) * (0.66, 0.7) + (x, -0.11), _WHITE)


def _no_overtaking(canvas: Picture) -> None:
    _ring(canvas)
    _car(canvas, -0.32, _RED)
    _car(canvas, 0.32, _BLACK)


def _caution_curve(canvas: Picture) -> None:
    _warning(-90, 0.22, canvas)
    bend = np.concatenate([[(-0.12, 0.5)], arc(0.1, 0.18, 0.22, 0.22, 180, 245)])
    arrow(canvas, bend, 0.17, 0.23, _BLACK)


_FACES: dict[str, Callable[[Picture], None]] = {
    "stop": _stop,
    "yield": partial(_warning, 90, -0.22),
    "speed limit 30": partial(_speed, "30"),
    "speed limit 50": partial(_speed, "50"),
    "no entry": _no_entry,
    "priority road": _priority_road,
    "turn left": partial(_turn, -1.0),
    "turn right": partial(_turn, 1.0),
    "pedestrian crossing": _crossing,
    "roundabout": _roundabout,
    "no overtaking": _no_overtaking,
    "caution: curve": _caution_curve,
}

CLASSES: tuple[str, ...] = tuple(_FACES)


def _pole(canvas: Picture) -> None:
    """A round steel tube behind the face, with the shadow of the face on it."""
    half = 0.07 * HALF
    centre = MARGIN * HALF
    columns = np.arange(int(centre - half), int(centre + half) + 1)
    around = (columns + 0.5 - centre) / half
    shade = 0.55 + 0.55 * np.exp(-(((around + 0.35) / 0.5) ** 2))
    tube: NDArray[Any] = np.clip(np.array(_METAL) * shade[:, None], 0, 255)
    rows = slice(int(centre), canvas.shape[0])
    depth = (np.arange(rows.start, rows.stop) - centre) / HALF
    shadow = 1.0 - 0.4 * np.exp(-(((depth - 0.8) / 0.35) ** 2))
    canvas[rows, columns[0] : columns[-1] + 1, :3] = tube[None] * shadow[:, None, None]
    canvas[rows, columns[0] : columns[-1] + 1, 3] = 255


@lru_cache(maxsize=2 * len(CLASSES))
def sign_picture(label: int, width: int) -> tuple[Picture, NDArray[np.float64]]:
    """The face on its pole: RGBA, colours multiplied by alpha, `width` pixels wide.

    The second result is the 3x3 matrix from pixel coordinates to sign units. The arrays are kept
    and shared, so they are read-only.
    """
    if not 0 <= label < len(CLASSES):
        raise ValueError(f"label must be in 0..{len(CLASSES) - 1}, got {label}")
    across, down = round(2 * MARGIN * HALF), round((MARGIN + POLE_END) * HALF)
    canvas = np.zeros((down, across, 4), np.uint8)
    _pole(canvas)
    _FACES[CLASSES[label]](canvas)
    height = round(width * down / across)
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    sx, sy = 2 * MARGIN / width, (MARGIN + POLE_END) / height
    units = np.array([(sx, 0.0, 0.5 * sx - MARGIN), (0.0, sy, 0.5 * sy - MARGIN), (0, 0, 1)])
    picture.flags.writeable = False
    units.flags.writeable = False
    return picture, units
