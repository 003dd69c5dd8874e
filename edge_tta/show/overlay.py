"""Drawing of what the network saw onto the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from edge_tta.frames.source import Pixels
from edge_tta.show.colours import Colour
from edge_tta.show.pen import BOLD, PLAIN, SHORT_SIDE, Pen, printable

# RGB.
_WHITE: Colour = (245, 245, 245)
_DIM: Colour = (170, 176, 184)
_GREEN: Colour = (88, 214, 141)
_RED: Colour = (240, 98, 90)
_AMBER: Colour = (245, 190, 80)
_BLUE: Colour = (96, 176, 245)
_INK: Colour = (18, 20, 24)

_LONGEST_SIDE = 1920


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

    label, confidence: the answer, and its probability, 0..1.
    entropy: of the prediction, in nats. entropy_share: the same over its largest value, 0..1.
    fps: frames per second of the whole loop.
    state: what the adaptation does, such as "learning: 7 of 16 to an update".
    tone: the colour of its dot.
    source_label, source_confidence: what the network as trained says.
    truth: the true class, spelled like the labels.
    condition: such as "fog 5".
    stay: how long the class is expected to stay, such as "0.8 s".
    alone: what the frame alone says, and its probability.
    alarm: what is wrong, such as "accuracy below 70%".
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
    stay: str | None = None
    alone: tuple[str, float] | None = None
    alarm: str = ""
    legend: Sequence[tuple[str, Colour]] = ()


def draw(pixels: Pixels, info: Overlay) -> Pixels:
    """A new uint8 (H', W', 3) RGB frame with `info` on it; `pixels` (H, W, 3) stays as it is.

    Small frames are enlarged to 480 pixels on the short side (or 1920 on the long one), so that the
    text can be read. Raises ValueError for a frame that is not uint8 (H, W, 3).
    """
    canvas = enlarged(pixels)
    height, width = canvas.shape[:2]
    unit = min(height, width) / SHORT_SIDE
    pen = Pen(canvas, unit)
    margin = pen.px(14)
    if info.state or info.condition or info.alarm or info.fps is not None:
        _draw_top(pen, info, margin, width - margin)
    if info.label or info.source_label or info.truth:
        _draw_bottom(pen, info, margin, width - margin)
    if info.legend:
        _draw_legend(pen, info.legend, margin, width - margin)
    return canvas


def _draw_top(pen: Pen, info: Overlay, left: int, right: int) -> None:
    """One line: what the adaptation does, the condition, the speed."""
    pen.shade(0, pen.px(34))
    y, size = pen.px(23), 0.52
    if info.fps is not None and math.isfinite(info.fps):
        rate = f"{info.fps:.1f} fps" if info.fps < 100 else f"{info.fps:.0f} fps"
        right = pen.text_before(rate, right, y, size, _WHITE) - pen.px(16)
    if info.alarm:
        right = pen.text_before(info.alarm, right, y, size, _RED, BOLD) - pen.px(16)
    if info.state:
        pen.dot(left + pen.px(5), y - pen.px(6), 5, info.tone.value)
        left += pen.px(18)
        state = pen.fitted(info.state, right - left, size)
        pen.text(state, left, y, size, _WHITE)
        left += pen.width_of(state, size, PLAIN) + pen.px(20)
    if info.condition:
        pen.text(pen.fitted(info.condition, right - left, size), left, y, size, _DIM)


def _draw_legend(pen: Pen, legend: Sequence[tuple[str, Colour]], left: int, right: int) -> None:
    """Names on their colours below the top line, as many as there is room for in two rows."""
    size, high = 0.42, pen.px(18)
    x, y = left, pen.px(42)
    for name, colour in legend:
        text = printable(name)
        wide = pen.width_of(text, size, PLAIN) + pen.px(12)
        if x + wide > right:
            x, y = left, y + high + pen.px(4)
            if y > pen.px(42) + high + pen.px(4):
                return
        cv2.rectangle(pen.canvas, (x, y), (x + wide, y + high), colour, cv2.FILLED)
        pen.text(text, x + pen.px(6), y + pen.px(13), size, _INK)
        x += wide + pen.px(5)


def _draw_bottom(pen: Pen, info: Overlay, left: int, right: int) -> None:
    """Predictions (beside each other when there are two), then the entropy and the truth."""
    over_time = info.stay is not None
    said = [("ANSWER" if over_time else "ADAPTED", info.label, info.confidence)]
    places = [(left, right)]
    two = info.source_label is not None
    if info.source_label is not None:
        said.append(("SOURCE", info.source_label, info.source_confidence))
        gap, middle = pen.px(14), (left + right) // 2
        places = [(left, middle - gap), (middle + gap, right)]
    footer = info.truth is not None or info.entropy is not None or info.entropy_share is not None
    top = pen.height - pen.px(56 + 20 * two + 28 * footer + 22 * over_time)
    pen.shade(top, pen.height)
    for (title, label, confidence), (start, end) in zip(said, places, strict=True):
        if two:
            pen.text(title, start, top + pen.px(21), 0.4, _DIM)
            if confidence is not None:
                pen.text_before("SURE TO", end, top + pen.px(21), 0.4, _DIM)
        y = top + pen.px(32 + 20 * two)
        sure = "" if two else " sure"
        _draw_prediction(pen, label, confidence, sure, info.truth, start, end, y)
    if over_time:
        _draw_over_time(pen, info, left, right, pen.height - pen.px(13 + 24 * footer))
    if footer:
        _draw_footer(pen, info, left, right, pen.height - pen.px(13))


def _draw_prediction(
    pen: Pen,
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
        end = pen.text_before(number, end, y, size, _WHITE, BOLD) - pen.px(12)
        pen.bar(left, right, y + pen.px(10), confidence, colour)
    if pen.width_of(printable(label), size, BOLD) > end - start:
        size = 0.54
    pen.text(pen.fitted(label, end - start, size, BOLD), start, y, size, _WHITE, BOLD)


def _draw_over_time(pen: Pen, info: Overlay, left: int, right: int, y: int) -> None:
    """How long the class is expected to stay; what the frame alone says takes what is left."""
    size = 0.46
    stay = f"expected to stay {info.stay}"
    pen.text(stay, left, y, size, _DIM)
    left += pen.width_of(stay, size, PLAIN) + pen.px(16)
    if info.alone is not None:
        label, confidence = info.alone
        alone = pen.fitted(f"this frame alone: {label} {confidence:.0%}", right - left, size)
        pen.text_before(alone, right, y, size, _DIM)


def _draw_footer(pen: Pen, info: Overlay, left: int, right: int, y: int) -> None:
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


def enlarged(pixels: Pixels) -> Pixels:
    """Return a copy, enlarged as far as text needs it. Raises ValueError as `draw` does."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels must be uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    scale = min(SHORT_SIDE / min(height, width), _LONGEST_SIDE / max(height, width))
    if scale <= 1.0:
        return np.array(pixels, order="C")
    size = round(width * scale), round(height * scale)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
