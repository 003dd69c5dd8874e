"""Boxes with class and score, drawn onto a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.frames.source import Pixels
from edge_tta.show.colours import Colour
from edge_tta.show.pen import printable

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DASH, _GAP = 7, 6
_DARK: Colour = (20, 22, 26)


@dataclass(frozen=True)
class DrawnBox:
    """A box of a picture: corners in pixels, its text ("" for none) and colour."""

    left: int
    top: int
    right: int
    bottom: int
    text: str
    colour: Colour


def draw_boxes(pixels: Pixels, boxes: Iterable[DrawnBox], *, dashed: bool = False) -> None:
    """Draws boxes onto a frame (H, W, 3) RGB, in place; dashed and thin: the second style."""
    unit = min(pixels.shape[:2]) / 480
    weight = 1 if dashed else max(2, round(2 * unit))
    for box in boxes:
        if dashed:
            _dashed(pixels, box)
            continue
        corners = (box.left, box.top), (box.right, box.bottom)
        cv2.rectangle(pixels, *corners, box.colour, weight, cv2.LINE_AA)
        if box.text:
            _label(pixels, box, max(0.38, 0.45 * unit))


def _label(pixels: Pixels, box: DrawnBox, size: float) -> None:
    """A text on a bar of the box's colour, above the box, or inside where there is no room."""
    text = printable(box.text)
    (width, height), base = cv2.getTextSize(text, _FONT, size, 1)
    bar = height + base + 3
    top = box.top - bar if box.top >= bar else box.top
    left = min(box.left, max(0, pixels.shape[1] - width - 4))
    cv2.rectangle(pixels, (left, top), (left + width + 4, top + bar), box.colour, cv2.FILLED)
    place = left + 2, top + height + 2
    cv2.putText(pixels, text, place, _FONT, size, _DARK, 1, cv2.LINE_AA)


def _dashed(pixels: Pixels, box: DrawnBox) -> None:
    corners = [
        (box.left, box.top),
        (box.right, box.top),
        (box.right, box.bottom),
        (box.left, box.bottom),
    ]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        a, b = np.array(start, float), np.array(end, float)
        length = float(np.abs(b - a).max())
        for at in np.arange(0, length, _DASH + _GAP):
            p, q = (a + (b - a) * min(x / length, 1) for x in (at, at + _DASH))
            cv2.line(pixels, _point(p), _point(q), box.colour, 1, cv2.LINE_AA)


def _point(place: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))
