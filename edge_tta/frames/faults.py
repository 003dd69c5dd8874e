"""Captured pictures that show nothing: what broken or unplugged cameras give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]

_BLACK_LEVEL = 4
"""Brightest value of a black picture: conversion from limited-range YUV does not always give 0."""


class FaultFilter:
    """Names what is wrong with a capture, comparing it with the one before.

    Sensor noise makes two real pictures differ and no real picture flat, so these are exact tests.
    """

    def __init__(self) -> None:
        self._last: _Array | None = None

    def fault(self, pixels: _Array) -> str | None:
        """Why `pixels` must not be used, or None.

        "black": no value above 4 of 255. "blank": one single colour (drivers hand out zeroed YUV
        buffers, which are green). "repeat": equal to the last capture in every value.
        """
        last, self._last = self._last, pixels
        if _everywhere(lambda part: part <= _BLACK_LEVEL, pixels):
            return "black"
        colour = pixels[:1, :1]
        if _everywhere(lambda part: part == colour, pixels):
            return "blank"
        if last is not None and _equal(pixels, last):
            return "repeat"
        return None


def _everywhere(test: Callable[[_Array], npt.NDArray[np.bool_]], pixels: _Array) -> bool:
    """Whether `test` holds for all pixels; a coarse grid rules it out for nearly every picture."""
    return bool(test(pixels[::16, ::16]).all() and test(pixels).all())


def _equal(one: _Array, other: _Array) -> bool:
    """Whether two pictures are equal, found out on a coarse grid for nearly every pair."""
    return one.shape == other.shape and bool(
        (one[::16, ::16] == other[::16, ::16]).all() and (one == other).all()
    )
