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


class Cameras:
    """One camera after another, as a camera is that is unplugged and plugged in again."""

    def __init__(self, *cameras: FakeCamera | Exception) -> None:
        self._left = list(cameras)
        self.opened = 0

    def __call__(self) -> FakeCamera:
        self.opened += 1
        outcome = self._left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


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
