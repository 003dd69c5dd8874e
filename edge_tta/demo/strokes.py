"""Drawing in sign units: filled polygons, strokes with round ends, letters, arrows.

The face of a sign lies in [-1, 1] x [-1, 1], x to the right, y downwards. Letters and digits are
strokes of our own, because the fonts of `cv2.putText` differ between OpenCV versions. Nothing is
smoothed here: pictures are drawn large and reduced by area averaging.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]
Picture: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

DRAWN = 768  # pixels per face width while drawing
HALF = DRAWN // 2  # pixels per sign unit
MARGIN = 1.06  # half width of the picture in sign units: a transparent rim for clean edges


def _pixels(points: Points) -> NDArray[np.int32]:
    return np.rint((points + MARGIN) * HALF * 16).astype(np.int32)


def fill(canvas: Picture, points: Points, colour: Colour) -> None:
    cv2.fillPoly(canvas, [_pixels(points)], (*colour, 255), cv2.LINE_8, 4)


def stroke(
    canvas: Picture, points: Points, width: float, colour: Colour, *, closed: bool = False
) -> None:
    """A line with round ends and corners."""
    thickness = max(1, round(width * HALF))
    pixels = [_pixels(points)]
    cv2.polylines(canvas, pixels, closed, (*colour, 255), thickness, cv2.LINE_8, 4)


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> Points:
    """Points of an elliptic arc; degrees, clockwise as seen, 0 to the right."""
    angle = np.radians(np.linspace(start, stop, 48))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def disc(canvas: Picture, radius: float, colour: Colour, x: float = 0.0, y: float = 0.0) -> None:
    fill(canvas, arc(x, y, radius, radius, 0, 360), colour)


def rounded(
    canvas: Picture, sides: int, radius: float, turn: float, y: float, corner: float, colour: Colour
) -> None:
    """A regular polygon, one corner at `turn` degrees, corners rounded with radius `corner`."""
    inner = radius - corner / np.cos(np.pi / sides)
    angle = np.radians(turn + 360.0 / sides * np.arange(sides))
    points = np.stack([inner * np.cos(angle), y + inner * np.sin(angle)], axis=1)
    fill(canvas, points, colour)
    stroke(canvas, points, 2 * corner, colour, closed=True)


def box(x: float, y: float, width: float, height: float) -> Points:
    """An upright rectangle around (x, y)."""
    w, h = width / 2, height / 2
    return np.array([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)])


def _curve(*parts: Points | list[tuple[float, float]]) -> tuple[Points]:
    """One stroke through parts, one after the other."""
    return (np.concatenate(parts),)


# Strokes in a box of width 0.54 and height 1, origin at the upper left.
_ROUND = _curve(
    arc(0.27, 0.3, 0.27, 0.3, 180, 360), arc(0.27, 0.7, 0.27, 0.3, 0, 180), [(0.0, 0.3)]
)
_GLYPHS: dict[str, tuple[Points, ...]] = {
    "0": _ROUND,
    "O": _ROUND,
    "3": (arc(0.25, 0.26, 0.25, 0.26, -165, 90), arc(0.25, 0.74, 0.28, 0.26, -90, 165)),
    "5": _curve([(0.5, 0.0), (0.06, 0.0), (0.02, 0.46)], arc(0.25, 0.69, 0.29, 0.31, -140, 155)),
    "S": _curve(arc(0.27, 0.26, 0.26, 0.26, -20, -270), arc(0.27, 0.74, 0.26, 0.26, -90, 160)),
    "T": (np.array([(0.0, 0.0), (0.54, 0.0)]), np.array([(0.27, 0.0), (0.27, 1.0)])),
    "P": _curve(
        [(0.02, 1.0), (0.02, 0.0), (0.25, 0.0)],
        arc(0.25, 0.28, 0.27, 0.28, -90, 90),
        [(0.02, 0.56)],
    ),
}


def text(
    canvas: Picture, text: str, height: float, width: float, colour: Colour, *, condensed: float = 1
) -> None:
    """Centred text; height and stroke width in sign units, letters `condensed` times as wide."""
    advance = 0.54 * condensed + 1.65 * width / height
    left = -(advance * (len(text) - 1) + 0.54 * condensed) / 2
    for place, glyph in enumerate(text):
        origin = np.array([left + place * advance, -0.5])
        for points in _GLYPHS[glyph]:
            stroke(canvas, (points * (condensed, 1.0) + origin) * height, width, colour)


def arrow(
    canvas: Picture, points: Points, width: float, head: float, colour: Colour, *, bend: float = 0
) -> None:
    """A stroke with a triangular head beyond its last point, turned by `bend` degrees."""
    stroke(canvas, points, width, colour)
    ahead = points[-1] - points[-2]
    turn = np.arctan2(ahead[1], ahead[0]) + np.radians(bend)
    ahead = head * np.array([np.cos(turn), np.sin(turn)])
    side = np.array([-ahead[1], ahead[0]])
    fill(canvas, points[-1] + np.array([ahead, side, -side]), colour)
