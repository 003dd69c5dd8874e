"""File names of every kind: bytes that are no text, colons, spaces, patterns, links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import open_source
from edge_tta.show import VideoRecorder
from tests.frames.media import Save, textured


def _odd(folder: Path, name: bytes) -> Path:
    """A path whose name is not UTF-8, where the file system has such names."""
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    try:
        path.touch()
    except (OSError, UnicodeError) as error:
        pytest.skip(f"no such names here: {error}")
    path.unlink()
    return path


def _names(spec: object) -> list[str]:
    with open_source(str(spec)) as source:
        return [frame.name for frame in source]


def test_a_video_whose_name_is_not_utf8_is_read_and_named_in_print(
    clip: Path, tmp_path: Path
) -> None:
    odd = _odd(tmp_path, b"cam\xe9ra.avi")
    clip.rename(odd)
    with open_source(str(odd)) as source:
        assert source.name == r"cam\xe9ra.avi"
        assert len(list(source)) == 20


def test_pictures_and_folders_whose_names_are_not_utf8_are_read(tmp_path: Path, save: Save) -> None:
    folder = _odd(tmp_path, b"caf\xe9")
    folder.mkdir()
    save(tmp_path / "1.png", textured(1)).rename(_odd(folder, b"\xff.png"))
    with open_source(str(folder)) as source:
        assert source.name == r"caf\xe9"
        assert [frame.name for frame in source] == [r"\xff.png"]


@pytest.mark.parametrize("ending", [b".mp4", b".avi"])
def test_a_video_can_be_recorded_under_a_name_that_is_not_utf8(
    tmp_path: Path, ending: bytes
) -> None:
    odd = _odd(tmp_path, b"cam\xe9ra" + ending)
    with VideoRecorder(odd, 10) as recorder:
        for seed in range(3):
            recorder.write(textured(seed))
    assert list(tmp_path.iterdir()) == [odd]
    assert len(_names(odd)) == 3


def test_relative_names_with_colons_are_no_addresses(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "2024-05-01T12:30:05.mp4"
    with VideoRecorder(name, 10) as recorder:
        recorder.write(textured(1))
    assert len(_names(name)) == 1
    clip.rename("c:lip.avi")
    assert len(_names("c:lip.avi")) == 20


@pytest.mark.parametrize("name", [" clip.avi ", "a ! b.avi", "clip%03d.avi", "[1]*.avi", "%d.avi"])
def test_a_file_that_exists_is_meant_whatever_its_name_looks_like(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clip.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(_names(name)) == 20


def test_a_file_address_is_a_path(clip: Path, tmp_path: Path) -> None:
    spaced = clip.rename(tmp_path / "my clip.avi")
    assert len(_names(spaced.as_uri())) == 20


def test_numbered_patterns_are_read_by_number(tmp_path: Path, save: Save) -> None:
    for number in (2, 10, 9999, 10_000):
        save(tmp_path / "seq" / f"img_{number:04d}.jpg", textured(number))
    save(tmp_path / "seq" / "img_1.jpg", textured(1))
    save(tmp_path / "seq" / "other_0001.jpg", textured(1))
    expected = [f"img_{number}.jpg" for number in ("0002", "0010", "9999", "10000")]
    assert _names(tmp_path / "seq" / "img_%04d.jpg") == expected
    assert _names(tmp_path / "seq" / "img_%d.jpg") == ["img_1.jpg", *expected]
    with pytest.raises(SourceError, match="nothing matches it"):
        open_source(str(tmp_path / "seq" / "img_%07d.jpg"))
    with pytest.raises(SourceError, match="pattern"):
        open_source(str(tmp_path / "gone" / "img_%04d.jpg"))


def test_brackets_of_a_folder_are_no_pattern(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "run [2]" / "7" / "a.png", textured(1))
    save(tmp_path / "run [2]" / "b.png", textured(2))
    assert _names(tmp_path / "run [2]" / "*.png") == ["b.png"]


def test_links_that_lead_nowhere_or_to_themselves_are_told(tmp_path: Path) -> None:
    gone, circle = tmp_path / "gone.jpg", tmp_path / "circle.mp4"
    gone.symlink_to("nowhere.jpg")
    circle.symlink_to("circle.mp4")
    with pytest.raises(SourceError, match=r"gone\.jpg is a link to .*nowhere\.jpg, which is not"):
        open_source(str(gone))
    with pytest.raises(SourceError, match=r"circle\.mp4 is a link that leads back to itself"):
        open_source(str(circle))


def test_linked_folders_are_read_at_any_depth_and_circles_once(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "real" / "a.png", textured(1))
    tree = tmp_path / "tree"
    save(tree / "train" / "3" / "b.png", textured(2))
    (tree / "val").mkdir()
    for link, target in {
        "val/3": tmp_path / "real",
        "val/4": tmp_path / "real",
        "val/up": tree,
        "train/3/self": tree / "train" / "3",
        "back": tmp_path,
    }.items():
        (tree / link).symlink_to(target)
    expected = ["train/3/b.png", "val/3/a.png", "val/4/a.png"]
    assert _names(tree) == expected
    assert _names(tree / "**" / "*.png") == expected


def test_a_pipe_in_a_folder_is_unreadable_and_a_folder_no_picture(
    tmp_path: Path, save: Save
) -> None:
    save(tmp_path / "a.png", textured(1))
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").mkdir()
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == ["a.png"]
    assert source.dropped == {"unreadable": 1}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read anything")
def test_folders_without_permission_are_counted(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "1" / "a.png", textured(1))
    closed = tmp_path / "2"
    closed.mkdir(mode=0)
    try:
        with open_source(str(tmp_path)) as source:
            assert len(list(source)) == 1
    finally:
        closed.chmod(0o700)
    assert source.dropped == {"folders without permission": 1}
