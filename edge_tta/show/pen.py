"""Pen that draws texts, dots and bars into a picture, larger in larger ones."""

from __future__ import annotations

import bisect
import math
import unicodedata

import cv2

from edge_tta.frames.source import Pixels
from edge_tta.show.colours import Colour

SHORT_SIDE = 480
"""Pixels on the short side that the text sizes are made for, and that small frames are given."""

PLAIN, BOLD = cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX

_TRACK: Colour = (78, 84, 92)
_ASCII_FOR = str.maketrans("\u2010\u2013\u2014\u2018\u2019\u201c\u201d", "---''\"\"")


def printable(text: str) -> str:
    """Text in the characters that OpenCV's fonts have: ASCII; accents go, the rest becomes "?".

    Underscores of class names are spaces.
    """
    words = text.replace("_", " ").split()
    decomposed = unicodedata.normalize("NFKD", " ".join(words)).translate(_ASCII_FOR)
    return "".join(
        char if " " <= char <= "~" else "?"
        for char in decomposed
        if not unicodedata.combining(char)
    )


class Pen:
    """Draws in units of 1/480 of the frame's short side."""

    def __init__(self, canvas: Pixels, unit: float) -> None:
        self.canvas = canvas
        self.height, self.width = canvas.shape[:2]
        self._unit = unit

    def px(self, units: float) -> int:
        return max(1, round(units * self._unit))

    def shade(self, top: int, bottom: int) -> None:
        """Darken rows top..bottom to a panel that still lets the picture through."""
        rows = self.canvas[max(0, top) : max(0, bottom)]
        if rows.size:
            cv2.convertScaleAbs(rows, rows, 0.28, 10)

    def width_of(self, text: str, size: float, font: int) -> int:
        return int(cv2.getTextSize(text, font, size * self._unit, self._weight(size))[0][0])

    def text(
        self, text: str, x: int, y: int, size: float, colour: Colour, font: int = PLAIN
    ) -> None:
        """Write with the baseline's left end at (x, y)."""
        scale, weight = size * self._unit, self._weight(size)
        cv2.putText(self.canvas, text, (x, y), font, scale, colour, weight, cv2.LINE_AA)

    def text_before(
        self, text: str, x: int, y: int, size: float, colour: Colour, font: int = PLAIN
    ) -> int:
        """Write with the baseline's right end at (x, y); returns the left end's x."""
        left = x - self.width_of(text, size, font)
        self.text(text, left, y, size, colour, font)
        return left

    def fitted(self, text: str, width: int, size: float, font: int = PLAIN) -> str:
        """`text`, shortened with an ellipsis to at most `width` pixels."""
        text = printable(text)
        if self.width_of(text, size, font) <= width:
            return text

        def width_cut(length: int) -> int:
            return self.width_of(text[:length].rstrip() + "...", size, font)

        length = bisect.bisect_right(range(1, len(text)), width, key=width_cut)
        return text[:length].rstrip() + "..." if length else ""

    def dot(self, x: int, y: int, radius: float, colour: Colour) -> None:
        cv2.circle(self.canvas, (x, y), self.px(radius), colour, cv2.FILLED, cv2.LINE_AA)

    def bar(self, left: int, right: int, y: int, share: float, colour: Colour) -> None:
        """A horizontal bar of which `share` (0..1, NaN as 0) is filled."""
        share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
        thickness = self.px(5)
        cv2.rectangle(self.canvas, (left, y), (right, y + thickness), _TRACK, cv2.FILLED)
        end = left + round((right - left) * share)
        if end > left:
            cv2.rectangle(self.canvas, (left, y), (end, y + thickness), colour, cv2.FILLED)

    def _weight(self, size: float) -> int:
        return max(1, round(1.6 * size * self._unit))
