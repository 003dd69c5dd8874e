"""The recorder: a file is whole or not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_tta.errors import OutputError
from edge_tta.show import VideoRecorder, encoders, video

Pixels = npt.NDArray[np.uint8]


def _picture(value: int, height: int = 48, width: int = 64) -> Pixels:
    """Left half red, right half blue, of the given strength."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = value
    pixels[:, width // 2 :, 2] = value
    return pixels


def _read(path: Path) -> tuple[list[Pixels], float]:
    capture = cv2.VideoCapture(str(path))
    assert capture.isOpened()
    frames: list[Pixels] = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(np.asarray(frame[..., ::-1], np.uint8))


@pytest.mark.parametrize("ending", [".mp4", ".m4v", ".mov", ".mkv", ".avi", ".MP4"])
def test_what_was_written_can_be_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    with VideoRecorder(path, 12.5) as recorder:
        for value in range(60, 160, 10):
            recorder.write(_picture(value))
        assert not path.exists()
        assert (tmp_path / f"out.part{ending}").exists()
    frames, fps = _read(path)
    assert len(frames) == 10
    assert fps == pytest.approx(12.5, abs=0.01)
    assert list(tmp_path.iterdir()) == [path]
    for frame, value in zip(frames, range(60, 160, 10), strict=True):
        assert frame[:, 4:28].mean((0, 1)) == pytest.approx([value, 0, 0], abs=12)
        assert frame[:, 36:60].mean((0, 1)) == pytest.approx([0, 0, value], abs=12)


@pytest.mark.parametrize("fps", [0.5, 7.123, 23.976, 29.97002997, 120.1234, 1000.0])
def test_any_sensible_rate_can_be_recorded(tmp_path: Path, fps: float) -> None:
    with VideoRecorder(tmp_path / "out.mp4", fps) as recorder:
        recorder.write(_picture(99))
    assert _read(tmp_path / "out.mp4")[1] == pytest.approx(fps, abs=0.01)


def test_frames_of_another_size_are_resized_not_lost(tmp_path: Path) -> None:
    with VideoRecorder(tmp_path / "out.mp4", 10) as recorder:
        for size in [(48, 64), (96, 128), (20, 30), (49, 65), (48, 64)]:
            recorder.write(_picture(150, *size))
    frames, _ = _read(tmp_path / "out.mp4")
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    assert all(frame[:, 4:28, 0].mean() == pytest.approx(150, abs=12) for frame in frames)


def test_odd_sizes_lose_a_row_and_a_column_not_their_content(tmp_path: Path) -> None:
    with VideoRecorder(tmp_path / "out.mp4", 10) as recorder:
        recorder.write(_picture(150, 47, 65))
    frames, _ = _read(tmp_path / "out.mp4")
    assert frames[0].shape == (46, 64, 3)
    assert frames[0][:, 4:28, 0].mean() == pytest.approx(150, abs=12)


def test_an_interruption_still_ends_in_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt), VideoRecorder(path, 10) as recorder:
        for _ in range(3):
            recorder.write(_picture(100))
        raise KeyboardInterrupt
    assert len(_read(path)[0]) == 3
    recorder.close()


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    path.write_bytes(b"old")
    with VideoRecorder(path, 10) as recorder:
        assert path.read_bytes() == b"old"
        recorder.write(_picture(100))
        assert path.read_bytes() == b"old"
    assert len(_read(path)[0]) == 1


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    with VideoRecorder(tmp_path / "out.mp4", 10):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.xyz", r"ending \.xyz is not one of \.mp4"),
        ("out", r"ending \(none\)"),
        ("gone/out.mp4", "gone does not exist"),
        ("folder.mp4", "is a folder"),
    ],
)
def test_places_that_cannot_work_are_refused_at_once(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=message):
        VideoRecorder(tmp_path / name, 10)


def test_a_place_without_permission_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OutputError, match="Permission denied; choose another folder"):
        VideoRecorder(tmp_path / "out.mp4", 10)


def test_a_full_disk_is_reported_and_the_frames_so_far_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = VideoRecorder(tmp_path / "out.mp4", 10)
    recorder.write(_picture(100))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(OutputError, match="disk is full"):
        recorder.write(_picture(100))
    recorder.close()
    assert len(_read(tmp_path / "out.mp4")[0]) == 1


def test_a_disk_full_from_the_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    recorder = VideoRecorder(tmp_path / "out.mp4", 10)
    with pytest.raises(OutputError, match="disk is full"):
        recorder.write(_picture(100))
    recorder.close()
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_read_back_is_removed_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    recorder = VideoRecorder(path, 10)
    recorder.write(_picture(100))
    (tmp_path / "out.part.mp4").unlink()
    with pytest.raises(OutputError, match="could not be written"):
        recorder.close()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"
    assert capfd.readouterr().err == ""


def test_wrong_arguments_are_value_errors(tmp_path: Path) -> None:
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="fps must be above 0"):
            VideoRecorder(tmp_path / "out.mp4", fps)
    with (
        VideoRecorder(tmp_path / "out.mp4", 10) as recorder,
        pytest.raises(ValueError, match="must be uint8"),
    ):
        recorder.write(np.zeros((4, 4), np.uint8))


needs_av = pytest.mark.skipif(not encoders.has_h264(), reason="needs PyAV: pip install av")


@needs_av
def test_where_pyav_is_there_videos_are_what_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "a:b.mp4"
    with VideoRecorder(path, 12.5) as recorder:
        for value in range(60, 160, 10):
            recorder.write(_picture(value))
    data = path.read_bytes()
    assert b"avc1" in data
    assert data.index(b"moov") < data.index(b"mdat")  # plays before all of it has come
    assert video.plays_only_in_players(path) is None
    assert video.plays_only_in_players(Path("out.avi")) is not None


def test_without_pyav_opencv_writes_and_it_is_told_how_to_have_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (encoders, video):
        monkeypatch.setattr(module, "has_h264", lambda: False)
    path = tmp_path / "out.mp4"
    with VideoRecorder(path, 12.5) as recorder:
        recorder.write(_picture(100))
    assert b"mp4v" in path.read_bytes()
    said = video.plays_only_in_players(path)
    assert said is not None
    assert "edge-tta[video]" in said
