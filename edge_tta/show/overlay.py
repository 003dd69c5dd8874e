"""Drawing of what the network saw onto the frame."""

from __future__ import annotations

import bisect
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from edge_tta.frames.source import Pixels
from edge_tta.show.colours import Colour

_Colour = Colour

# RGB.
_WHITE: _Colour = (245, 245, 245)
_DIM: _Colour = (170, 176, 184)
_GREEN: _Colour = (88, 214, 141)
_RED: _Colour = (240, 98, 90)
_AMBER: _Colour = (245, 190, 80)
_BLUE: _Colour = (96, 176, 245)
_TRACK: _Colour = (78, 84, 92)
_INK: _Colour = (18, 20, 24)

_SHORT_SIDE = 480
"""Pixels on the short side that the text sizes are made for, and that small frames are given."""
_LONGEST_SIDE = 1920
_ASCII_FOR = str.maketrans("\u2010\u2013\u2014\u2018\u2019\u201c\u201d", "---''\"\"")
_PLAIN, _BOLD = cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX


class Tone(Enum):
    """Colours for how the adaptation is doing."""

    GOOD = _GREEN
    CALM = _BLUE
    DOUBTFUL = _AMBER
    BAD = _RED
    DIM = _DIM


@dataclass(frozen=True)
class Overlay:
    """Texts and figures to show; what is None or empty is left out.

    label, confidence: the adapted network's prediction and its probability, 0..1.
    entropy: of the prediction, in nats. entropy_share: the same over its largest value, 0..1.
    fps: frames per second of the whole loop.
    state: what the adaptation does, such as "learning: 7 of 16 to an update".
    tone: the colour of its dot.
    source_label, source_confidence: what the network as trained says.
    truth: the true class, spelled like the labels.
    condition: such as "fog 5".
    alone: what the frame alone says, and its probability, where that is another class.
    legend: names and colours of what is painted into the picture.
    """

    label: str = ""
    confidence: float | None = None
    entropy: float | None = None
    entropy_share: float | None = None
    fps: float | None = None
    state: str = ""
    tone: Tone = Tone.DIM
    source_label: str | None = None
    source_confidence: float | None = None
    truth: str | None = None
    condition: str | None = None
    alone: tuple[str, float] | None = None
    legend: Sequence[tuple[str, Colour]] = ()


def draw(pixels: Pixels, info: Overlay) -> Pixels:
    """A new uint8 (H', W', 3) RGB frame with `info` on it; `pixels` (H, W, 3) stays as it is.

    Small frames are enlarged to 480 pixels on the short side (or 1920 on the long one), so that the
    text can be read. Raises ValueError for a frame that is not uint8 (H, W, 3).
    """
    canvas = enlarged(pixels)
    height, width = canvas.shape[:2]
    unit = min(height, width) / _SHORT_SIDE
    pen = _Pen(canvas, unit)
    margin = pen.px(14)
    if info.state or info.condition or info.fps is not None:
        _draw_top(pen, info, margin, width - margin)
    if info.label or info.source_label or info.truth:
        _draw_bottom(pen, info, margin, width - margin)
    if info.legend:
        _draw_legend(pen, info.legend, margin, width - margin)
    return canvas


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


class _Pen:
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
        self, text: str, x: int, y: int, size: float, colour: _Colour, font: int = _PLAIN
    ) -> None:
        """Write with the baseline's left end at (x, y)."""
        scale, weight = size * self._unit, self._weight(size)
        cv2.putText(self.canvas, text, (x, y), font, scale, colour, weight, cv2.LINE_AA)

    def text_before(
        self, text: str, x: int, y: int, size: float, colour: _Colour, font: int = _PLAIN
    ) -> int:
        """Write with the baseline's right end at (x, y); returns the left end's x."""
        left = x - self.width_of(text, size, font)
        self.text(text, left, y, size, colour, font)
        return left

    def fitted(self, text: str, width: int, size: float, font: int = _PLAIN) -> str:
        """`text`, shortened with an ellipsis to at most `width` pixels."""
        text = printable(text)
        if self.width_of(text, size, font) <= width:
            return text

        def width_cut(length: int) -> int:
            return self.width_of(text[:length].rstrip() + "...", size, font)

        length = bisect.bisect_right(range(1, len(text)), width, key=width_cut)
        return text[:length].rstrip() + "..." if length else ""

    def dot(self, x: int, y: int, radius: float, colour: _Colour) -> None:
        cv2.circle(self.canvas, (x, y), self.px(radius), colour, cv2.FILLED, cv2.LINE_AA)

    def bar(self, left: int, right: int, y: int, share: float, colour: _Colour) -> None:
        """A horizontal bar of which `share` (0..1, NaN as 0) is filled."""
        share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
        thickness = self.px(5)
        cv2.rectangle(self.canvas, (left, y), (right, y + thickness), _TRACK, cv2.FILLED)
        end = left + round((right - left) * share)
        if end > left:
            cv2.rectangle(self.canvas, (left, y), (end, y + thickness), colour, cv2.FILLED)

    def _weight(self, size: float) -> int:
        return max(1, round(1.6 * size * self._unit))


def _draw_top(pen: _Pen, info: Overlay, left: int, right: int) -> None:
    """One line: what the adaptation does, the condition, the speed."""
    pen.shade(0, pen.px(34))
    y, size = pen.px(23), 0.52
    if info.fps is not None and math.isfinite(info.fps):
        rate = f"{info.fps:.1f} fps" if info.fps < 100 else f"{info.fps:.0f} fps"
        right = pen.text_before(rate, right, y, size, _WHITE) - pen.px(16)
    if info.state:
        pen.dot(left + pen.px(5), y - pen.px(6), 5, info.tone.value)
        left += pen.px(18)
        state = pen.fitted(info.state, right - left, size)
        pen.text(state, left, y, size, _WHITE)
        left += pen.width_of(state, size, _PLAIN) + pen.px(20)
    if info.condition:
        pen.text(pen.fitted(info.condition, right - left, size), left, y, size, _DIM)


def _draw_legend(pen: _Pen, legend: Sequence[tuple[str, Colour]], left: int, right: int) -> None:
    """Names on their colours below the top line, as many as there is room for in two rows."""
    size, high = 0.42, pen.px(18)
    x, y = left, pen.px(42)
    for name, colour in legend:
        text = printable(name)
        wide = pen.width_of(text, size, _PLAIN) + pen.px(12)
        if x + wide > right:
            x, y = left, y + high + pen.px(4)
            if y > pen.px(42) + high + pen.px(4):
                return
        cv2.rectangle(pen.canvas, (x, y), (x + wide, y + high), colour, cv2.FILLED)
        pen.text(text, x + pen.px(6), y + pen.px(13), size, _INK)
        x += wide + pen.px(5)


def _draw_bottom(pen: _Pen, info: Overlay, left: int, right: int) -> None:
    """Predictions (beside each other when there are two), then the entropy and the truth."""
    said = [("ADAPTED", info.label, info.confidence)]
    places = [(left, right)]
    two = info.source_label is not None
    if info.source_label is not None:
        said.append(("SOURCE", info.source_label, info.source_confidence))
        gap, middle = pen.px(14), (left + right) // 2
        places = [(left, middle - gap), (middle + gap, right)]
    footer = info.truth is not None or info.entropy is not None or info.entropy_share is not None
    top = pen.height - pen.px(56 + 20 * two + 28 * footer)
    pen.shade(top, pen.height)
    for (title, label, confidence), (start, end) in zip(said, places, strict=True):
        if two:
            pen.text(title, start, top + pen.px(21), 0.4, _DIM)
            if confidence is not None:
                pen.text_before("SURE TO", end, top + pen.px(21), 0.4, _DIM)
        y = top + pen.px(32 + 20 * two)
        sure = "" if two else " sure"
        _draw_prediction(pen, label, confidence, sure, info.truth, start, end, y)
    if footer:
        _draw_footer(pen, info, left, right, pen.height - pen.px(13))


def _draw_prediction(
    pen: _Pen,
    label: str,
    confidence: float | None,
    sure: str,
    truth: str | None,
    left: int,
    right: int,
    y: int,
) -> None:
    """Dot (right or wrong, when the truth is known), label, confidence as number and bar."""
    colour = _BLUE if truth is None else _GREEN if label == truth else _RED
    size, start, end = 0.68, left, right
    if truth is not None:
        pen.dot(start + pen.px(7), y - pen.px(7), 7, colour)
        start += pen.px(23)
    if confidence is not None:
        number = f"{100 * confidence:.0f}%{sure}" if math.isfinite(confidence) else "n/a"
        end = pen.text_before(number, end, y, size, _WHITE, _BOLD) - pen.px(12)
        pen.bar(left, right, y + pen.px(10), confidence, colour)
    if pen.width_of(printable(label), size, _BOLD) > end - start:
        size = 0.54
    pen.text(pen.fitted(label, end - start, size, _BOLD), start, y, size, _WHITE, _BOLD)


def _draw_footer(pen: _Pen, info: Overlay, left: int, right: int, y: int) -> None:
    """The entropy on the right, as bar and number; the truth takes what is left."""
    size = 0.46
    if info.entropy is not None:
        number = f"{info.entropy:.2f} nats" if math.isfinite(info.entropy) else "n/a"
        right = pen.text_before(number, right, y, size, _DIM) - pen.px(10)
    if info.entropy_share is not None:
        bar = right - pen.px(80)
        pen.bar(bar, right, y - pen.px(8), info.entropy_share, _AMBER)
        right = bar - pen.px(10)
    if info.entropy is not None or info.entropy_share is not None:
        right = pen.text_before("entropy (0: sure)", right, y, size, _DIM) - pen.px(16)
    if info.truth is not None:
        truth = pen.fitted(f"truth: {info.truth}", right - left, size)
        pen.text(truth, left, y, size, _WHITE)
        left += pen.width_of(truth, size, _PLAIN) + pen.px(16)
    if info.alone is not None and right - left > pen.px(60):
        label, confidence = info.alone
        alone = pen.fitted(f"this frame alone: {label} {confidence:.0%}", right - left, size)
        pen.text(alone, left, y, size, _DIM)


def enlarged(pixels: Pixels) -> Pixels:
    """Return a copy, enlarged as far as text needs it. Raises ValueError as `draw` does."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels must be uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    scale = min(_SHORT_SIDE / min(height, width), _LONGEST_SIDE / max(height, width))
    if scale <= 1.0:
        return np.array(pixels, order="C")
    size = round(width * scale), round(height * scale)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
