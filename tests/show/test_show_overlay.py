"""The overlay: what it changes, what it leaves alone, and that nothing makes it fail."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_tta.show.overlay import Overlay, draw
from edge_tta.show.pen import Pen, printable

Pixels = npt.NDArray[np.uint8]

FULL = Overlay(
    label="golden retriever",
    confidence=0.87,
    entropy=0.52,
    entropy_share=0.31,
    fps=23.4,
    state="learning 7/16",
    source_label="Chesapeake Bay retriever",
    source_confidence=0.34,
    truth="golden retriever",
    condition="fog 5",
    stay="1.4 s",
    alone=("Chesapeake Bay retriever", 0.41),
    alarm="accuracy below 70%",
)


def _grey(height: int = 480, width: int = 640) -> Pixels:
    return np.full((height, width, 3), 120, np.uint8)


def _count(pixels: Pixels, colour: tuple[int, int, int]) -> int:
    return int((pixels == colour).all(axis=-1).sum())


GREEN, RED, BLUE, AMBER = (88, 214, 141), (240, 98, 90), (96, 176, 245), (245, 190, 80)


def test_input_is_not_touched_and_not_shared() -> None:
    pixels = _grey()
    before = pixels.copy()
    drawn = draw(pixels, FULL)
    assert np.array_equal(pixels, before)
    assert not np.shares_memory(pixels, drawn)
    assert not np.shares_memory(pixels, draw(pixels, Overlay()))


def test_nothing_to_show_leaves_the_picture_as_it_is() -> None:
    assert np.array_equal(draw(_grey(), Overlay()), _grey())


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"stay": "9.9 s"}, slice(400, 450)),
        ({"alone": ("otter", 0.41)}, slice(400, 450)),
        ({"alarm": "accuracy below 9%"}, slice(0, 34)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_shown_over_time_is_seen(changes: dict[str, Any], rows: slice) -> None:
    plain, other = draw(_grey(), FULL), draw(_grey(), replace(FULL, **changes))
    differ = (plain != other).any(axis=(1, 2))
    assert differ[rows].any()
    assert not np.delete(differ, np.r_[rows]).any()


def test_same_input_gives_the_same_picture() -> None:
    assert np.array_equal(draw(_grey(), FULL), draw(_grey(), FULL))


def test_the_middle_of_the_picture_stays_free() -> None:
    drawn = draw(_grey(), FULL)
    assert (drawn[60:340] == 120).all()
    assert (drawn[:30] != 120).any()
    assert (drawn[370:] != 120).any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), (480, 480)),
        ((120, 160), (480, 640)),
        ((32, 32), (480, 480)),
        ((720, 1280), (720, 1280)),
        ((480, 641), (480, 641)),
        ((10, 1920), (10, 1920)),
        ((60, 960), (120, 1920)),
    ],
)
def test_small_frames_are_enlarged_and_others_are_not(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert draw(_grey(*size), FULL).shape == (*expected, 3)


def test_dots_tell_right_from_wrong_only_when_the_truth_is_known() -> None:
    right = draw(_grey(), Overlay(label="cat", truth="cat"))
    wrong = draw(_grey(), Overlay(label="cat", truth="dog"))
    unknown = draw(_grey(), Overlay(label="cat"))
    assert _count(right, GREEN) > 50
    assert _count(right, RED) == 0
    assert _count(wrong, RED) > 50
    assert _count(wrong, GREEN) == 0
    assert _count(unknown, GREEN) == _count(unknown, RED) == 0


def test_source_and_adapted_get_their_own_dot() -> None:
    drawn = draw(_grey(), FULL)
    bottom = drawn[340:]
    assert _count(bottom[:, :320], GREEN) > 50
    assert _count(bottom[:, :320], RED) == 0
    assert _count(bottom[:, 320:], RED) > 50
    assert _count(bottom[:, 320:], GREEN) == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_confidence_bar_is_as_long_as_the_confidence(share: float) -> None:
    drawn = draw(_grey(), Overlay(label="cat", confidence=share))
    filled = (drawn == BLUE).all(axis=-1).any(axis=0).sum()
    assert filled == pytest.approx(share * 612, abs=2)


def test_entropy_bar_is_as_long_as_its_share() -> None:
    lengths = [
        (draw(_grey(), Overlay(label="x", entropy_share=share)) == AMBER).all(-1).any(0).sum()
        for share in (0.25, 0.5, 1.0)
    ]
    assert lengths == pytest.approx([20, 40, 80], abs=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 7.0])
def test_numbers_out_of_range_are_drawn_not_raised(value: float) -> None:
    info = dataclasses.replace(
        FULL,
        confidence=value,
        entropy=value,
        entropy_share=value,
        fps=value,
        source_confidence=value,
    )
    assert draw(_grey(), info).shape == (480, 640, 3)


def test_every_combination_of_fields_can_be_drawn() -> None:
    fields = [field.name for field in dataclasses.fields(Overlay)]
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(fields, count) for count in (0, 1, 2, 3)
    ):
        info = Overlay(**{name: getattr(FULL, name) for name in chosen})
        assert draw(_grey(48, 64), info).shape == (480, 640, 3)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (17, 31)])
def test_tiny_and_narrow_frames_do_not_fail(size: tuple[int, int]) -> None:
    draw(_grey(*size), FULL)


@pytest.mark.parametrize("width", [20, 100, 333])
def test_long_text_is_shortened_to_the_width(width: int) -> None:
    pen = Pen(_grey(), 1.0)
    text = "a very long class name, with its synonyms and more"
    fitted = pen.fitted(text, width, 0.68)
    assert pen.width_of(fitted, 0.68, cv2.FONT_HERSHEY_SIMPLEX) <= width
    assert fitted.endswith("...") or not fitted
    assert fitted.removesuffix("...") in text
    assert pen.fitted("short", 400, 0.68) == "short"


def test_long_labels_do_not_reach_the_confidence() -> None:
    plain = draw(_grey(), Overlay(label="", confidence=0.5, truth="x"))
    full = draw(_grey(), Overlay(label="W" * 200, confidence=0.5, truth="x"))
    number = np.s_[425:460, 575:626]
    assert np.array_equal(plain[number], full[number])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("café", "cafe"),
        ("a\nb\tc", "a b c"),
        ("x \u2014 \u201cy\u201d", 'x - "y"'),
        ("\u732b", "?"),
        ("plain ~!", "plain ~!"),
        ("traffic_light", "traffic light"),
    ],
)
def test_text_becomes_ascii(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match="must be uint8"):
        draw(pixels, FULL)


def test_views_with_strides_are_drawn_like_copies() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    view = pixels[:, ::-1, ::-1]
    assert np.array_equal(draw(view, FULL), draw(np.ascontiguousarray(view), FULL))
