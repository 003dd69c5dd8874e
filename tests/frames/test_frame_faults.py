"""Captures that show nothing, or not what they should: each is named, and no good one is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_tta.frames.faults import FaultFilter, _bar_rows, not_a_picture
from tests.frames.media import textured

GOOD = [textured(seed)[..., ::-1].copy() for seed in range(8)]
BLACK = np.full((48, 64, 3), 3, np.uint8)
GREEN = np.full((48, 64, 3), (0, 135, 0), np.uint8)


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3), (480, 640, 3), (1, 1, 3)])
def test_black_and_blank_are_found_in_any_shape(shape: tuple[int, ...]) -> None:
    assert FaultFilter().fault(np.zeros(shape, np.uint8)) == "black"
    assert FaultFilter().fault(np.full(shape, 200, np.uint8)) == "blank"


def test_one_bright_pixel_makes_a_picture() -> None:
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[77, 123, 1] = 9
    assert FaultFilter().fault(pixels) is None


def test_one_changed_pixel_makes_a_new_picture() -> None:
    faults = FaultFilter()
    pixels = textured(0).copy()
    assert faults.fault(pixels) is None
    assert faults.fault(pixels.copy()) == "repeat"
    changed = pixels.copy()
    changed[17, 3, 2] ^= 1
    assert faults.fault(changed) is None


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (np.full((4, 5, 3), np.nan, np.float32), "not finite"),
        (np.zeros((4, 5, 3), np.float32), "wrong format"),
        (np.zeros((4, 5, 2), np.uint8), "wrong format"),
        (np.zeros((0, 5, 3), np.uint8), "wrong format"),
        (np.zeros((4,), np.uint8), "wrong format"),
        (np.zeros((2, 4, 5, 3), np.uint8), "wrong format"),
        (np.zeros((4, 5, 3), np.int16), "wrong format"),
        ("picture", "wrong format"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_named(pixels: Any, why: str) -> None:
    assert FaultFilter().fault(pixels) == why
    assert not_a_picture(pixels) == why


def test_grey_and_deep_captures_are_pictures_of_their_own_range() -> None:
    grey = textured(0)[..., 0]
    assert FaultFilter().fault(grey) is None
    deep = grey.astype(np.uint16) * 257
    assert FaultFilter().fault(deep) is None
    assert FaultFilter().fault(np.full((48, 64), 900, np.uint16)) == "black"
    assert FaultFilter().fault(np.full((48, 64), 9000, np.uint16)) == "blank"
    assert not_a_picture(grey) == not_a_picture(deep) == "wrong format"
    assert not_a_picture(textured(0)) is None


def test_a_capture_of_another_size_is_left_out_until_the_stream_has_changed_for_good() -> None:
    faults = FaultFilter()
    assert faults.fault(textured(0)) is None
    assert faults.fault(textured(1, 20, 30)) == "other size"
    assert faults.fault(textured(2)[..., 0]) == "other size"
    assert faults.fault(textured(3)) is None
    whys = [faults.fault(textured(4 + number, 20, 30)) for number in range(9)]
    assert whys == ["other size"] * 7 + [None, None]
    assert faults.fault(textured(20)) == "other size"


def test_a_bottom_that_turns_grey_is_a_picture_that_broke_off() -> None:
    faults = FaultFilter()
    assert faults.fault(textured(0)) is None
    for number, rows in enumerate((8, 20, 47)):
        broken = textured(1 + number).copy()
        broken[-rows:] = 128
        assert faults.fault(broken) == "truncated"
    assert faults.fault(textured(9)) is None


def test_bars_that_stay_and_clipped_light_are_no_faults() -> None:
    def barred(number: int, colour: int, rows: int = 12) -> np.ndarray:
        pixels = textured(number).copy()
        pixels[-rows:] = colour
        return pixels

    faults = FaultFilter()
    assert [faults.fault(barred(number, 77)) for number in range(3)] == [None] * 3
    faults = FaultFilter()
    assert faults.fault(textured(0)) is None
    assert faults.fault(barred(1, 255)) is None
    assert faults.fault(barred(2, 0)) is None
    whys = [faults.fault(barred(3 + number, 77)) for number in range(9)]
    assert whys == ["truncated"] * 7 + [None, None]


def test_an_old_picture_after_a_black_one_is_still_old() -> None:
    faults = FaultFilter()
    assert faults.fault(textured(0)) is None
    assert faults.fault(BLACK) == "black"
    assert faults.fault(textured(0)) == "repeat"
    assert faults.fault(textured(1)) is None
    assert faults.fault(textured(0)) is None


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3), (1, 64, 3), (48, 1, 3)])
@pytest.mark.parametrize("rows", [0, 1, 9, 48])
def test_the_bar_at_the_bottom_is_counted_row_by_row(shape: tuple[int, ...], rows: int) -> None:
    pixels = np.random.default_rng(0).integers(30, 220, shape).astype(np.uint8)
    rows = min(rows, shape[0])
    pixels[len(pixels) - rows :] = 77
    flat = [bool((row == 77).all()) for row in pixels[::-1]]
    expected = flat.index(False) if False in flat else len(flat)
    if rows == 0 and shape[1] == 1:
        expected = 1  # a row of one pixel is of one colour, whichever it is
    assert _bar_rows(pixels) == expected
    pixels[0, -1] ^= 1  # where the coarse look does not come
    assert _bar_rows(pixels) == min(expected, shape[0] - 1)
