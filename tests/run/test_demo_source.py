"""The demo's drive as a source of frames."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tta.demo.source import DEMO, FPS, FRAMES, DemoSource
from edge_tta.demo.stream import drive, weather
from edge_tta.frames import open_source
from edge_tta.frames.source import Pick


def test_frames_labels_and_conditions_are_those_of_the_drive() -> None:
    seen = list(DemoSource(Pick(max_frames=20)))
    expected = list(drive(20))
    assert [frame.index for frame in seen] == list(range(20))
    for frame, wanted in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(frame.pixels, wanted.frame)
        assert (frame.label, frame.condition) == (wanted.label, wanted.condition)
        assert frame.name == f"demo#{frame.index}"
        assert frame.time_s == pytest.approx(frame.index / FPS)


def test_a_short_drive_has_all_its_weather() -> None:
    short = {frame.condition for frame in DemoSource(Pick(max_frames=40))}
    long = {condition for condition, _ in weather(FRAMES)}
    assert short == long
    assert len(long) > 3


def test_stride_leaves_frames_out_of_a_drive_as_much_longer() -> None:
    seen = list(DemoSource(Pick(stride=3, max_frames=6)))
    expected = list(drive(18))[::3]
    assert [frame.name for frame in seen] == [f"demo#{3 * index}" for index in range(6)]
    assert [frame.index for frame in seen] == list(range(6))
    for frame, wanted in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(frame.pixels, wanted.frame)


@pytest.mark.parametrize(
    ("pick", "length"),
    [
        (Pick(), FRAMES),
        (Pick(stride=2), FRAMES // 2),
        (Pick(stride=7), -(-FRAMES // 7)),
        (Pick(max_frames=5000), 5000),
        (Pick(stride=4, max_frames=3), 3),
    ],
    ids=str,
)
def test_the_length_is_known_beforehand(pick: Pick, length: int) -> None:
    assert DemoSource(pick).length == length


def test_the_length_is_what_comes() -> None:
    source = DemoSource(Pick(stride=5, max_frames=4))
    assert sum(1 for _ in source) == source.length == 4
    assert source.read() is None


def test_fps_says_how_fast_it_plays() -> None:
    source = DemoSource(Pick(fps=4.0, max_frames=3))
    assert source.fps == 4.0
    assert [frame.time_s for frame in source] == [0.0, 0.25, 0.5]
    assert DemoSource(Pick()).fps == FPS


def test_another_seed_is_another_drive() -> None:
    one, two = (DemoSource(Pick(max_frames=2), seed=seed).read() for seed in (0, 1))
    assert one is not None
    assert two is not None
    assert not np.array_equal(one.pixels, two.pixels)


def test_it_is_opened_by_its_name() -> None:
    with open_source("demo", max_frames=1, more=DEMO) as source:
        assert isinstance(source, DemoSource)
        assert source.name == "demo"
