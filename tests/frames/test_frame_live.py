"""Live streams: broken captures never come out, and a dead stream ends with advice."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import LiveSource, Pick
from edge_tta.frames.faults import FaultFilter, _bar_rows, not_a_picture
from tests.frames.media import textured

GOOD = [textured(seed)[..., ::-1].copy() for seed in range(8)]
BLACK = np.full((48, 64, 3), 3, np.uint8)
GREEN = np.full((48, 64, 3), (0, 135, 0), np.uint8)
EMPTY = None


class FakeCamera:
    """Plays a script, one item per permit; afterwards every read is empty, or the last repeated."""

    def __init__(
        self, script: Sequence[np.ndarray | None], then: np.ndarray | None = EMPTY
    ) -> None:
        self._script = list(script)
        self._then = then
        self._current: np.ndarray | None = None
        self._permits = threading.Semaphore(0)
        self.unblocked = threading.Event()
        self.released = threading.Event()
        self.played = 0

    def allow(self, count: int) -> None:
        self._permits.release(count)

    def grab(self) -> bool:
        while not self._permits.acquire(timeout=0.01):
            if self.unblocked.is_set():
                return False
        self._current = self._script[self.played] if self.played < len(self._script) else self._then
        self.played += 1
        return self._current is not None

    def retrieve(self) -> tuple[bool, Any]:
        return self._current is not None, self._current

    def get(self, prop_id: int, /) -> float:
        return 30.0 if prop_id == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        self.released.set()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@contextlib.contextmanager
def _open(camera: FakeCamera, pick: Pick | None = None, **limits: Any) -> Iterator[LiveSource]:
    limits = {"reconnect_s": 0.0, **limits}
    with LiveSource("camera", lambda: camera, pick or Pick(), **limits) as source:
        yield source
        camera.unblocked.set()


def test_faulty_captures_are_counted_and_never_given() -> None:
    script = [BLACK, GOOD[0], GOOD[0], EMPTY, BLACK, BLACK, GREEN, GOOD[1]]
    camera = FakeCamera(script)
    with _open(camera) as source:
        camera.allow(2)
        first = source.read()
        camera.allow(6)
        second = source.read()
    assert first is not None
    assert second is not None
    assert np.array_equal(first.pixels, textured(0))
    assert np.array_equal(second.pixels, textured(1))
    assert (first.index, second.index) == (0, 1)
    assert 0 <= first.time_s < second.time_s
    assert source.dropped == {"black": 3, "blank": 1, "repeat": 1, "empty": 1}
    assert camera.released.is_set()


def test_only_the_newest_frame_waits() -> None:
    camera = FakeCamera(GOOD)
    with _open(camera) as source:
        camera.allow(5)
        _until(lambda: (source._inbox.newest or (0,))[0] == 4)
        frame = source.read()
    assert frame is not None
    assert frame.name == "camera#4"
    assert frame.index == 0
    assert source.dropped == {"late": 4}
    assert source.live
    assert source.length is None
    assert source.fps == 30.0


def test_stride_and_max_frames_hold_for_cameras() -> None:
    camera = FakeCamera(GOOD)
    names = []
    with _open(camera, Pick(stride=3, max_frames=2)) as source:
        for permits in (1, 3):
            camera.allow(permits)
            frame = source.read()
            assert frame is not None
            names.append(frame.name)
        assert source.read() is None
    assert names == ["camera#0", "camera#3"]
    assert source.fps == 10.0


def test_empty_reads_end_the_stream_with_advice() -> None:
    camera = FakeCamera([GOOD[0]])
    with _open(camera, most_empty=4) as source:
        camera.allow(1)
        assert source.read() is not None
        camera.allow(99)
        for _ in range(2):
            with pytest.raises(SourceError, match=r"no picture in 4 reads .* check the connection"):
                source.read()
    assert source.dropped == {"empty": 4}


def test_an_unplugged_camera_that_repeats_its_last_frame_ends_the_stream() -> None:
    camera = FakeCamera([GOOD[0]], then=GOOD[0])
    with _open(camera, useless_s=0.2) as source:
        camera.allow(1)
        assert source.read() is not None
        camera.allow(10_000)
        with pytest.raises(SourceError, match=r"only useless pictures for 0.2 s \(\d+ repeat\)"):
            source.read()


def test_a_driver_that_blocks_ends_the_stream() -> None:
    camera = FakeCamera([GOOD[0]])
    with (
        _open(camera, silence_s=0.1) as source,
        pytest.raises(SourceError, match=r"nothing arrives for 0\.1 s"),
    ):
        source.read()


def test_a_camera_that_warms_up_with_black_frames_is_used() -> None:
    camera = FakeCamera([BLACK] * 5 + [GOOD[2]])
    camera.allow(6)
    with _open(camera) as source:
        frame = source.read()
    assert frame is not None
    assert np.array_equal(frame.pixels, textured(2))


def test_live_streams_are_thinned_out_to_the_rate_asked_for() -> None:
    camera = FakeCamera(GOOD)
    with _open(camera, Pick(fps=0.01), silence_s=0.2, useless_s=0.2) as source:
        camera.allow(8)
        assert source.read() is not None
        with pytest.raises(SourceError):
            source.read()


def test_a_failure_to_open_reaches_the_caller() -> None:
    def opener() -> FakeCamera:
        raise SourceError("no such camera")

    with pytest.raises(SourceError, match="no such camera"):
        LiveSource("camera", opener, Pick())

    def broken() -> FakeCamera:
        raise cv2.error("two\nlines")

    with pytest.raises(SourceError, match=r"camera: cannot be opened \(two lines\)"):
        LiveSource("camera", broken, Pick())


def test_an_opening_that_blocks_is_given_up() -> None:
    release = threading.Event()

    def opener() -> FakeCamera:
        release.wait(5.0)
        return FakeCamera([])

    timer = threading.Timer(0.15, release.set)
    timer.start()
    with pytest.raises(SourceError, match=r"did not open within 0\.1 s"):
        LiveSource("camera", opener, Pick(), opening_s=0.1)
    timer.join()


def test_reading_after_closing_gives_nothing() -> None:
    with _open(FakeCamera(GOOD)) as source:
        pass
    assert source.read() is None
    source.close()


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
    found = [faults.fault(textured(4 + number, 20, 30)) for number in range(9)]
    assert found == ["other size"] * 7 + [None, None]
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
    found = [faults.fault(barred(3 + number, 77)) for number in range(9)]
    assert found == ["truncated"] * 7 + [None, None]


class Cameras:
    """One camera after another, as a camera is that is unplugged and plugged in again."""

    def __init__(self, *cameras: FakeCamera | Exception) -> None:
        self._left = list(cameras)
        self.opened = 0

    def __call__(self) -> FakeCamera:
        self.opened += 1
        found = self._left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def _allowed(script: Sequence[np.ndarray | None]) -> FakeCamera:
    camera = FakeCamera(script)
    camera.allow(100)
    return camera


def test_an_unplugged_camera_is_found_again_and_frames_go_on_counting() -> None:
    gone = SourceError("there is no camera /dev/video0")
    cameras = Cameras(_allowed(GOOD[:1]), gone, gone, _allowed(GOOD[1:2]))
    told: list[str] = []
    with LiveSource("camera", cameras, Pick(), most_empty=3, reconnect_s=30.0) as source:
        source.tell = told.append
        first, second = source.read(), source.read()
    assert first is not None
    assert second is not None
    assert np.array_equal(second.pixels, textured(1))
    assert (first.index, second.index) == (0, 1)
    assert (first.name, second.name) == ("camera#0", "camera#1")
    assert second.time_s > first.time_s
    assert (source.reconnected, cameras.opened) == (1, 4)
    assert "no picture in 3 reads" in told[0]
    assert "found again after" in told[1]


def test_a_camera_that_stays_away_is_given_up_with_what_was_tried() -> None:
    gone = [SourceError("there is no camera /dev/video0")] * 9
    cameras = Cameras(_allowed(GOOD[:1]), *gone)
    with LiveSource("camera", cameras, Pick(), most_empty=3, reconnect_s=1.0) as source:
        assert source.read() is not None
        with pytest.raises(SourceError) as caught:
            source.read()
        assert re.match(
            r"camera: no picture in 3 reads \(unplugged, or the stream ended\); "
            r"not found again in [12] attempts",
            str(caught.value),
        )
        assert "(there is no camera /dev/video0)" in str(caught.value)
        with pytest.raises(SourceError):
            source.read()
    assert cameras.opened in (2, 3)


def test_a_frame_from_before_is_no_sign_of_life() -> None:
    """Some drivers hand out their last buffer once more after opening."""
    cameras = Cameras(_allowed(GOOD[:1]), _allowed(GOOD[:1]), _allowed(GOOD[:2]))
    with LiveSource("camera", cameras, Pick(), most_empty=3, reconnect_s=30.0) as source:
        frames = [source.read(), source.read()]
    assert [frame.index for frame in frames if frame is not None] == [0, 1]
    assert source.dropped["repeat"] == 2
    assert source.reconnected == 1


def test_closing_ends_the_search_for_a_lost_stream() -> None:
    cameras = Cameras(_allowed(GOOD[:1]), *[SourceError("gone")] * 99)
    with LiveSource("camera", cameras, Pick(), most_empty=3, reconnect_s=1e9) as source:
        assert source.read() is not None
        timer = threading.Timer(0.6, source.close)
        timer.start()
        assert source.read() is None
        timer.join()


def test_captures_that_are_no_pictures_are_counted_and_never_given() -> None:
    odd = [np.full((48, 64, 3), np.nan, np.float32), np.zeros((48, 64, 2), np.uint8)]
    camera = _allowed([GOOD[0], *odd, textured(1)[:24], GOOD[2]])
    with _open(camera, Pick(max_frames=1)) as source:
        _until(lambda: (source._inbox.newest or (0,))[0] == 4)
        frame = source.read()
    assert frame is not None
    assert np.array_equal(frame.pixels, textured(2))
    expected = {"not finite": 1, "wrong format": 1, "other size": 1, "late": 1}
    assert {why: source.dropped[why] for why in expected} == expected


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
