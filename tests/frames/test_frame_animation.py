"""Files with several pictures: all of them are given, or how many were not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import animation, open_source
from edge_tta.frames.animation import frames_in
from tests.frames.media import textured

needs_animations = pytest.mark.skipif(
    not hasattr(cv2, "imencodeanimation"), reason="this OpenCV writes no animations"
)


def _animation(ending: str) -> bytes:
    """Five different pictures, nearly without loss."""
    made = cv2.Animation()
    made.frames = [textured(seed)[..., ::-1].copy() for seed in range(5)]
    made.durations = [100] * 5
    options = [cv2.IMWRITE_WEBP_QUALITY, 100] if ending == ".webp" else []
    whole, data = cv2.imencodeanimation(ending, made, options)
    assert whole
    return data.tobytes()


def _pages(dtype: type = np.uint8) -> bytes:
    pictures: list[np.ndarray] = [textured(seed)[..., ::-1].astype(dtype) for seed in range(5)]
    whole, data = cv2.imencodemulti(".tiff", pictures)
    assert whole
    return data.tobytes()


@needs_animations
@pytest.mark.parametrize("ending", [".webp", ".png", ".avif", ".gif"])
def test_an_animation_gives_all_its_frames_in_order(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"moving{ending}"
    path.write_bytes(_animation(ending))
    with open_source(str(path)) as source:
        frames = list(source)
    assert len(frames) == 5
    assert [frame.name for frame in frames] == [f"moving{ending}#{n}" for n in range(5)]
    for seed, frame in enumerate(frames):
        near = [np.abs(frame.pixels.astype(int) - textured(other)).mean() for other in range(5)]
        assert int(np.argmin(near)) == seed


@needs_animations
def test_stride_and_max_frames_hold_within_an_animation(tmp_path: Path) -> None:
    path = tmp_path / "moving.webp"
    path.write_bytes(_animation(".webp"))
    with open_source(str(path), stride=2, max_frames=2) as source:
        assert [frame.name for frame in source] == ["moving.webp#0", "moving.webp#2"]


@needs_animations
def test_an_animation_that_needs_too_much_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "moving.webp"
    path.write_bytes(_animation(".webp"))
    monkeypatch.setattr(animation, "_MOST_BYTES", 4 * 48 * 64 * 3)
    with pytest.raises(SourceError, match="holds 5 pictures of 64 x 48"):
        open_source(str(path))


def test_a_tiff_gives_all_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "pages.tiff"
    path.write_bytes(_pages())
    with open_source(str(path), stride=3) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == ["pages.tiff#0", "pages.tiff#3"]
    assert np.array_equal(frames[1].pixels, textured(3))


def test_in_a_folder_the_first_is_given_and_the_others_are_counted(tmp_path: Path) -> None:
    (tmp_path / "pages.tiff").write_bytes(_pages())
    (tmp_path / "single.png").write_bytes(cv2.imencode(".png", textured(7))[1].tobytes())
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == ["pages.tiff", "single.png"]
    assert source.dropped == {"further pictures of a file": 4}


def test_smaller_copies_in_a_tiff_are_no_pages() -> None:
    data = bytearray(_pages())
    assert frames_in(bytes(data)) == 5
    # The second directory's first entry becomes NewSubfileType (254), LONG, 1 value: 1.
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    second = int.from_bytes(data[first + 2 + 12 * entries :][:4], "little")
    data[second + 2 : second + 14] = bytes([254, 0, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    assert frames_in(bytes(data)) == 4


def test_directories_in_a_circle_and_cut_files_end() -> None:
    data = bytearray(_pages())
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    data[first + 2 + 12 * entries :][:4] = data[4:8]
    data[first + 2 + 12 * entries : first + 6 + 12 * entries] = data[4:8]
    assert frames_in(bytes(data)) == 1
    for end in range(0, 40):
        assert frames_in(bytes(data[:end])) >= 1
    for head in (b"\x89PNG\r\n\x1a\n", b"RIFF    WEBPVP8X", b"    ftypavis", b"II*\0", b"MM\0+"):
        assert frames_in(head) == 1


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tiff", ".bmp", ".avif"])
def test_a_single_picture_is_one(ending: str) -> None:
    assert frames_in(cv2.imencode(ending, textured(1))[1].tobytes()) == 1
