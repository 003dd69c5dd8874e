"""Captured pictures that show nothing, or not what they should: what broken cameras give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]

_BLACK_LEVEL = 4
"""Brightest value of a black picture: conversion from limited-range YUV does not always give 0."""
_WHITE_LEVEL = 250
"""An overexposed road is one flat white, and no fault."""
_BLOCK = 8
"""Rows of the smallest JPEG block: a picture that breaks off lacks at least so many."""
_PERSISTING = 8
"""After so many captures in a row another size, or a bar at the bottom, is the stream's new way."""


def unusable(pixels: Any) -> str | None:
    """Return why `pixels` cannot be a picture whatever it shows, or None.

    "not finite": NaN or infinity. "wrong format": not uint8 or uint16 (H, W), or (H, W, C) with
    1, 3 or 4 channels, or without a pixel.
    """
    if not isinstance(pixels, np.ndarray):
        return "wrong format"
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        return "not finite"
    channels = pixels.shape[-1] if pixels.ndim == 3 else 1
    fits = pixels.dtype in (np.uint8, np.uint16) and pixels.ndim in (2, 3) and pixels.size
    return None if fits and channels in (1, 3, 4) else "wrong format"


def not_a_picture(pixels: Any) -> str | None:
    """Return why `pixels` are not a Frame's, uint8 (H, W, 3); as `unusable` names it."""
    why = unusable(pixels)
    if why is None and not (pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)):
        return "wrong format"
    return why


def empty_picture(pixels: _Array) -> str | None:
    """Return "black" or "blank" for a picture of one colour, which teaches nothing; else None.

    "black": no value above 4 of 255. "blank": one single colour (drivers hand out zeroed YUV
    buffers, which are green). Sensor noise makes no real picture flat, so these are exact tests.
    """
    black = _level(pixels, _BLACK_LEVEL)
    if _everywhere(lambda part: part <= black, pixels):
        return "black"
    colour = pixels[:1, :1]
    return "blank" if _everywhere(lambda part: part == colour, pixels) else None


class FaultFilter:
    """Names what is wrong with a capture, comparing it with those before."""

    def __init__(self) -> None:
        self._last: _Array | None = None
        self._good: _Array | None = None
        self._shape = _Settled()
        self._bar = _Settled()

    def fault(self, pixels: _Array) -> str | None:
        """Return why `pixels` must not be used, or None.

        As `unusable` and `empty_picture` name it; "repeat": equal to the last capture, or the last
        good one, in every value (noise makes two real pictures differ); "other size": not the
        stream's usual height, width and channels; "truncated": the bottom is one flat grey or
        colour and was not before, as decoders fill pictures that break off. The last two become
        usual when they persist.
        """
        why = unusable(pixels)
        if why is not None:
            return why
        if not self._shape.accepts(pixels.shape, pixels.shape == self._shape.usual):
            return "other size"
        last, self._last = self._last, pixels
        why = empty_picture(pixels)
        if why is not None:
            return why
        # A camera that hangs may give black in between.
        if any(old is not None and _equal(pixels, old) for old in (last, self._good)):
            return "repeat"
        rows, usual = _bar_rows(pixels), self._bar.usual
        if not self._bar.accepts(rows, usual is not None and rows < usual + _BLOCK):
            return "truncated"
        self._good = pixels
        return None


class _Settled:
    """A property of a stream that single captures may not change. Its first value is usual."""

    def __init__(self) -> None:
        self.usual: Any = None
        self._other: Any = None
        self._times = 0

    def accepts(self, value: Any, fits: bool) -> bool:
        """Return True where this value is the stream's. fits: compared with `usual`."""
        self._times = self._times + 1 if value == self._other else 1
        self._other = value
        if self.usual is None or fits or self._times >= _PERSISTING:
            self.usual = value
            self._times = 0
            return True
        return False


def _bar_rows(pixels: _Array) -> int:
    """Rows at the bottom that are all one colour, neither black nor white; 0 in most pictures."""
    colour = pixels[-1:, :1]
    black, white = _level(pixels, _BLACK_LEVEL), _level(pixels, _WHITE_LEVEL)
    if bool((colour <= black).all() or (colour >= white).all()):
        return 0
    coarse = _flat_rows(pixels[:, ::16], colour) if (pixels[-1:, ::16] == colour).all() else 0
    return _flat_rows(pixels[-coarse:], colour) if coarse else 0


def _flat_rows(pixels: _Array, colour: _Array) -> int:
    """Rows from the bottom up in which all pixels have this colour."""
    flat = (pixels == colour).reshape(len(pixels), -1).all(1)
    return len(flat) if flat.all() else int(np.argmin(flat[::-1]))


def _level(pixels: _Array, level: int) -> int:
    """A level of 0..255 in the picture's own range."""
    return level * 257 if pixels.dtype == np.uint16 else level


def _everywhere(test: Callable[[_Array], npt.NDArray[np.bool_]], pixels: _Array) -> bool:
    """Return True where `test` holds for all pixels; a coarse grid rules most pictures out."""
    return bool(test(pixels[::16, ::16]).all() and test(pixels).all())


def _equal(one: _Array, other: _Array) -> bool:
    """Return True where two pictures are equal; a coarse grid tells nearly every pair apart."""
    return one.shape == other.shape and bool(
        (one[::16, ::16] == other[::16, ::16]).all() and (one == other).all()
    )
