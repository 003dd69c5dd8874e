"""What the user typed: the right source, or one line that helps."""

from __future__ import annotations

import re
import socket
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.errors import ConfigError, EdgeTTAError, SourceError
from edge_tta.frames import Frame, FrameSource, open_source
from edge_tta.frames.addresses import without_secrets
from edge_tta.frames.network import open_address
from edge_tta.frames.source import Pick
from edge_tta.frames.waiting import within
from tests.frames.media import textured


def _refused(spec: str, **options: float) -> str:
    """The message, which is one line and ends no sentence."""
    with pytest.raises(EdgeTTAError) as caught:
        open_source(spec, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_a_misspelt_file_is_answered_with_near_names(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_text("x")
    assert f"did you mean {tmp_path / 'holiday.mp4'}?" in _refused(str(tmp_path / "holyday.mp4"))
    assert "the folder" in _refused(str(tmp_path / "gone" / "holiday.mp4"))
    assert "expected a camera number" in _refused(str(tmp_path / "zzz"))


def test_a_folder_without_pictures_says_what_is_in_it(tmp_path: Path) -> None:
    assert "it is empty" in _refused(str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "inner").mkdir()
    message = _refused(str(tmp_path))
    assert ".txt" in message
    assert "class folders" in message


def test_a_pattern_without_pictures_says_why(tmp_path: Path) -> None:
    assert "quote it" in _refused(str(tmp_path / "*.jpg"))
    (tmp_path / "a.mp4").write_text("x")
    assert "1 matches are not pictures" in _refused(str(tmp_path / "*.mp4"))


@pytest.mark.parametrize(
    "options",
    [{"stride": 0}, {"stride": -2}, {"fps": 0.0}, {"fps": float("nan")}, {"max_frames": 0}],
)
def test_numbers_out_of_range_are_named(clip: Path, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} must be"):
        open_source(str(clip), **options)  # type: ignore[arg-type]


def test_unknown_addresses_and_nothing_are_refused() -> None:
    assert "rtsp://" in _refused("ftp://host/clip.mp4")
    assert "camera number" in _refused("  ")


@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
def test_a_missing_camera_is_answered_with_those_there_are() -> None:
    message = _refused("97")
    assert "/dev/video97" in message
    assert re.search(r"there are: /dev/video|plug in a USB camera", message)
    assert "/dev/video98" in _refused("/dev/video98")


@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
def test_a_device_that_is_no_camera_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert "v4l2-ctl --list-devices" in _refused("/dev/null")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("spec", ["csi://0", "videotestsrc ! videoconvert ! appsink"])
def test_pipelines_without_gstreamer_say_what_is_needed(spec: str) -> None:
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    assert "has no GStreamer" in _refused(spec)
    assert "python3-opencv" in _refused(spec)


def test_a_picture_behind_an_address_is_one_frame(server: str) -> None:
    with open_source(f"{server}/photo") as source:
        frames = list(source)
    assert len(frames) == source.length == 1
    assert np.array_equal(frames[0].pixels, textured(0))


def test_a_video_behind_an_address_is_read_like_a_file(server: str) -> None:
    with open_source(f"{server}/clip.avi", stride=4) as source:
        assert len(list(source)) == source.length == 5
        assert not source.live


def test_an_mjpeg_stream_is_live_and_ends_with_advice(server: str) -> None:
    with open_source(f"{server}/stream", reconnect_s=0.0) as source:
        assert source.live
        frames: list[Frame] = []
        with pytest.raises(SourceError, match="the stream ended"):
            frames.extend(source)
    assert frames
    assert len(frames) + source.dropped["late"] <= 40
    assert source.dropped["empty"] == 30


def _read_some(server: str) -> list[Frame]:
    with open_source(f"{server}/stream", max_frames=3) as source:
        return list(source)


def test_frames_of_an_mjpeg_stream_look_as_sent(server: str) -> None:
    frames = _read_some(server)
    assert [frame.index for frame in frames] == [0, 1, 2]
    for frame in frames:
        number = int(frame.name.rpartition("#")[2])
        assert np.abs(frame.pixels.astype(int) - textured(number)).mean() < 12


def test_web_pages_and_missing_paths_are_refused(server: str) -> None:
    assert "is a web page" in _refused(f"{server}/page")
    assert "404" in _refused(f"{server}/nothing")
    assert "user name and password" in _refused(f"{server}/login")


def test_a_password_is_used_but_never_shown(server: str) -> None:
    address = server.replace("//", "//user:p%40ss@") + "/login"
    with open_source(address) as source:
        frames = list(source)
    assert len(frames) == 1
    assert "p%40ss" not in source.name + frames[0].name
    assert without_secrets("rtsp://me:secret@host:554/a?b=c") == "rtsp://me:***@host:554/a?b=c"
    message = _refused("rtsp://me:secret@127.0.0.1:9/stream")
    assert "secret" not in message
    assert "cannot reach" in message


def test_digest_is_answered_and_a_wrong_password_told(server: str) -> None:
    with open_source(server.replace("//", "//user:p%40ss@") + "/digest") as source:
        assert len(list(source)) == source.length == 1
    message = _refused(server.replace("//", "//user:Wrong9@") + "/digest")
    assert "401" in message
    assert "Wrong9" not in message


def test_a_picture_is_known_by_its_bytes_where_the_server_does_not_say(server: str) -> None:
    with open_source(f"{server}/untyped") as source:
        assert len(list(source)) == source.length == 1


def test_addresses_may_hold_spaces_and_letters_of_any_language(server: str) -> None:
    with open_source(f"{server}/my vidéo.png") as source:
        assert len(list(source)) == 1
    with open_source(f"HTTP{server[4:]}/clip.avi") as source:
        assert len(list(source)) == 20


def test_a_stream_whose_boundary_has_no_name_is_read(server: str) -> None:
    with open_source(f"{server}/unnamed", max_frames=2, reconnect_s=0.0) as source:
        assert len(list(source)) == 2


def test_control_characters_of_a_server_reach_no_terminal(server: str) -> None:
    assert r"404 \x1b[31mred" in _refused(f"{server}/rude")


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SourceError):
            open_address(f"http://127.0.0.1:{port}/x", Pick(), timeout_s=0.2)
        with pytest.raises(SourceError):
            open_address(f"rtsp://127.0.0.1:{port}/x", Pick(), timeout_s=0.2)


def test_work_that_blocks_is_given_up_and_its_errors_are_passed_on() -> None:
    release = threading.Event()
    with pytest.raises(SourceError, match=r"did not answer within 0.05 s"):
        within(0.05, lambda: release.wait(5.0), "rtsp://host", "")
    release.set()
    assert within(5.0, lambda: 42, "x", "") == 42

    def fail() -> None:
        raise SourceError("reason")

    with pytest.raises(SourceError, match="reason"):
        within(5.0, fail, "x", "")


def test_a_source_of_ones_own_needs_only_read() -> None:
    class Two(FrameSource):
        def __init__(self) -> None:
            super().__init__("two", length=2)
            self.given = 0

        def read(self) -> Frame | None:
            if self.given == 2:
                return None
            self.given += 1
            return Frame(self.given - 1, textured(self.given), 0.0, f"two#{self.given}")

    with Two() as source:
        assert [frame.index for frame in source] == [0, 1]
    assert source.dropped == {}
