"""Video files: which frames come out, when, and what happens to files that are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import Frame, RateLimit, open_source
from edge_tta.frames.source import Pick
from edge_tta.frames.video import VideoSource
from tests.frames.media import textured


def _number(frame: Frame) -> int:
    """The number that the clip fixture wrote into a frame's grey value."""
    return round((float(frame.pixels.mean()) - 10) / 10)


def _frames(path: Path, **options: float) -> list[Frame]:
    with open_source(str(path), **options) as source:  # type: ignore[arg-type]
        frames = list(source)
        assert source.length == len(frames)
    return frames


def test_all_frames_come_out_in_order_with_media_time(clip: Path) -> None:
    frames = _frames(clip)
    assert [_number(frame) for frame in frames] == list(range(20))
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.time_s for frame in frames] == pytest.approx(
        [i / 10 for i in range(20)], abs=1e-3
    )
    assert frames[3].name == "clip.avi#3"
    assert frames[3].label is None
    assert frames[3].pixels.shape == (48, 64, 3)


def test_stride_keeps_the_sources_own_numbers_in_the_name(clip: Path) -> None:
    frames = _frames(clip, stride=6)
    assert [_number(frame) for frame in frames] == [0, 6, 12, 18]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.name for frame in frames] == [f"clip.avi#{n}" for n in (0, 6, 12, 18)]
    assert frames[1].time_s == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("fps", [0.3, 1.0, 2.0, 2.5, 3.0, 7.0, 9.9, 10.0, 12.0, 1000.0])
def test_fps_thins_a_video_to_that_rate(clip: Path, fps: float) -> None:
    frames = _frames(clip, fps=fps)
    numbers = [_number(frame) for frame in frames]
    assert numbers[0] == 0
    assert len(set(numbers)) == len(numbers)
    assert abs(len(numbers) - min(20.0, 2.0 * fps)) <= 1
    assert set(np.diff(numbers)) <= {int(10 / fps), int(10 / fps) + 1, 1}


def test_stride_counts_frames_that_fps_left(clip: Path) -> None:
    assert [_number(frame) for frame in _frames(clip, fps=5.0, stride=3)] == [0, 6, 12, 18]


@pytest.mark.parametrize("most", [1, 5, 20, 99])
def test_max_frames_ends_the_stream(clip: Path, most: int) -> None:
    assert len(_frames(clip, max_frames=most)) == min(most, 20)


def test_fps_attribute_is_the_rate_of_what_comes_out(clip: Path) -> None:
    for options, expected in [({}, 10.0), ({"stride": 4}, 2.5), ({"fps": 5.0, "stride": 2}, 2.5)]:
        with open_source(str(clip), **options) as source:  # type: ignore[arg-type]
            assert source.fps == pytest.approx(expected)


def test_end_is_final_and_closing_twice_is_harmless(clip: Path) -> None:
    with open_source(str(clip), stride=10) as source:
        assert len(list(source)) == 2
        assert source.read() is None
    source.close()
    assert source.read() is None


def test_rate_limit_is_even_over_a_long_stream() -> None:
    limit = RateLimit(7.0, 0.5 / 30)
    taken = [number for number in range(30_000) if limit.takes(number / 30)]
    assert len(taken) == 7_000
    assert set(np.diff(taken)) == {4, 5}


def test_rate_limit_survives_gaps_and_late_starts() -> None:
    limit = RateLimit(1.0, 0.0)
    times = [5.0, 5.5, 6.0, 20.3, 20.9, 21.2]
    assert [time_s for time_s in times if limit.takes(time_s)] == [5.0, 6.0, 20.3, 21.2]


def test_a_file_that_is_no_video_says_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fake.mp4"
    path.write_text("hello " * 100)
    with pytest.raises(SourceError, match="ffmpeg -i"):
        open_source(str(path))
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        open_source(str(path))
    assert capfd.readouterr().err == ""


def test_a_video_that_breaks_off_gives_what_it_has(clip: Path) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 2 // 3])
    with open_source(str(clip)) as source:
        assert 5 < len(list(source)) < 20


class _NoCodec:
    """A capture that opens but cannot decode."""

    released = False

    def grab(self) -> bool:
        return False

    def retrieve(self) -> tuple[bool, np.ndarray]:
        raise cv2.error("unreachable")

    def get(self, prop_id: int, /) -> float:
        code = int.from_bytes(b"av01", "little")
        return {cv2.CAP_PROP_FPS: 25.0, cv2.CAP_PROP_FOURCC: float(code)}.get(prop_id, 0.0)

    def release(self) -> None:
        self.released = True


def test_what_a_broken_off_video_lacks_is_counted(clip: Path) -> None:
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    with open_source(str(clip)) as source:
        given = len(list(source))
        assert source.read() is None
    assert 0 < given < 15
    assert source.dropped["missing at the end"] == 20 - given
    with open_source(str(clip), max_frames=3) as source:
        list(source)
    assert not source.dropped


def test_a_missing_codec_is_named_and_the_file_released() -> None:
    capture = _NoCodec()
    with pytest.raises(SourceError, match="codec av01"):
        VideoSource("clip.mp4", capture, Pick())
    assert capture.released


def test_real_clip_is_read_to_its_end(outside_data: Path) -> None:
    frames = _frames(outside_data / "data" / "video" / "carnd_vehicle_test_video.mp4")
    assert len(frames) == 38
    assert frames[-1].time_s == pytest.approx(37 / 25, abs=1e-3)


class _Recording:
    """A capture of frames at given times, whose header counts `frames` of them at `rate`."""

    def __init__(self, times_s: list[float], frames: float, rate: float) -> None:
        self._times_s, self._at = times_s, -1
        self._known = {cv2.CAP_PROP_FRAME_COUNT: frames, cv2.CAP_PROP_FPS: rate}

    def grab(self) -> bool:
        self._at += 1
        return self._at < len(self._times_s)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, textured(self._at)

    def get(self, prop_id: int, /) -> float:
        if prop_id == cv2.CAP_PROP_POS_MSEC:
            return 1000 * self._times_s[min(self._at, len(self._times_s) - 1)]
        return self._known.get(prop_id, 0.0)

    def release(self) -> None:
        """Nothing is held."""


_EVEN = [number / 25 for number in range(100)]


@pytest.mark.parametrize(
    ("times_s", "frames", "missing"),
    [
        ([t + 4 * (t > 0.4) for t in _EVEN[:20]], 120.0, 0),  # a pause of four seconds
        (_EVEN[40:], 100.0, 0),  # begins between key frames
        (_EVEN, 100.0, 0),
        (_EVEN[:60], 100.0, 40),
        ([t + 1 * (t > 0.4) for t in _EVEN[:40]], 125.0, 60),
        (_EVEN, 2.0**30, 0),  # AVI whose recorder was killed
        (_EVEN, -9.2e18, 0),  # a stream that was recorded as it is
    ],
)
def test_frames_are_missing_where_time_is(
    times_s: list[float], frames: float, missing: int
) -> None:
    with VideoSource("clip", _Recording(times_s, frames, 25.0), Pick()) as source:
        assert len(list(source)) == len(times_s)
        assert source.dropped["missing at the end"] == missing
        assert source.length is None or source.length <= 125


@pytest.mark.parametrize(("name", "count"), [("vfr.mkv", 20), ("midgop.ts", 15)])
def test_whole_recordings_of_the_field_lack_nothing(
    outside_data: Path, name: str, count: int
) -> None:
    path = outside_data / "field" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    with open_source(str(path)) as source:
        assert len(list(source)) == count
        assert not source.dropped


def test_a_rate_that_is_a_time_base_is_no_rate() -> None:
    with VideoSource("clip", _Recording(_EVEN, -1.0, 1000.0), Pick()) as source:
        assert source.fps is None
        assert [frame.time_s for frame in source] == pytest.approx(_EVEN)


class _Still(_Recording):
    """A capture whose frames are all equal from the first on, but for some."""

    def __init__(self, count: int, other: int = -1) -> None:
        super().__init__([number / 25 for number in range(count)], count, 25.0)
        self._other = other

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, textured(int(self._at == self._other))


@pytest.mark.parametrize(
    ("capture", "times"),
    [(_Still(20), 1), (_Still(120), 1), (_Still(20, 19), 0), (_Still(120, 60), 1), (_Still(1), 0)],
)
def test_a_video_that_does_not_move_is_told_of_once(capture: _Still, times: int) -> None:
    """Interlaced video: OpenCVs give what their memory held."""
    said: list[str] = []
    with VideoSource("clip", capture, Pick()) as source:
        source.tell = said.append
        list(source)
        assert source.read() is None
    assert len(said) == times
    assert all("yadif" in line for line in said)


def test_a_cover_is_no_video_of_ninety_thousand_frames() -> None:
    with VideoSource("song.mp3", _Recording([0.0], 90_000, 90_000.0), Pick()) as source:
        assert source.length is None
        assert len(list(source)) == 1
        assert not source.dropped


def test_a_heic_picture_in_tiles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "phone.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic" + b"ispe" + b"\0" * 20 + b"grid" + b"\0" * 99)
    with pytest.raises(SourceError, match="in tiles, of which OpenCV shows one"):
        open_source(str(path))
