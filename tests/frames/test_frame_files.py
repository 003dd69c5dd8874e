"""Folders, patterns and single pictures: what is found, in which order, with which labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import open_source
from edge_tta.frames.labels import ClassNames
from tests.frames.media import Save, textured


def _names(spec: object) -> list[str]:
    with open_source(str(spec)) as source:
        return [frame.name for frame in source]


def _labels(spec: object, classes: list[str] | None = None) -> dict[str, int | None]:
    with open_source(str(spec), classes=classes) as source:
        return {frame.name: frame.label for frame in source}


def test_folder_is_read_in_natural_order(tmp_path: Path, save: Save) -> None:
    for number in (10, 9, 1, 100):
        save(tmp_path / f"shot{number}.png", textured(number))
    (tmp_path / "notes.txt").write_text("no picture")
    save(tmp_path / ".hidden.png", textured(0))
    with open_source(str(tmp_path)) as source:
        frames = list(source)
        assert source.length == 4
        assert not source.live
    assert [frame.name for frame in frames] == [
        "shot1.png",
        "shot9.png",
        "shot10.png",
        "shot100.png",
    ]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.label for frame in frames] == [None] * 4
    assert np.array_equal(frames[1].pixels, textured(9))


def test_stride_and_max_frames_agree_with_length(tmp_path: Path, save: Save) -> None:
    for number in range(7):
        save(tmp_path / f"{number}.png", textured(number))
    for stride, most, expected in [(3, None, "036"), (2, 3, "024"), (1, 2, "01"), (9, None, "0")]:
        with open_source(str(tmp_path), stride=stride, max_frames=most) as source:
            frames = list(source)
        assert "".join(frame.name[0] for frame in frames) == expected
        assert source.length == len(expected)
        assert [frame.index for frame in frames] == list(range(len(expected)))
        assert [frame.time_s for frame in frames] == [float(digit) for digit in expected]


def test_fps_spaces_pictures_in_time_and_leaves_none_out(tmp_path: Path, save: Save) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", textured(number))
    with open_source(str(tmp_path), fps=4.0) as source:
        assert [frame.time_s for frame in source] == [0.0, 0.25, 0.5]


def test_damaged_pictures_are_counted_and_skipped(tmp_path: Path, save: Save) -> None:
    whole = save(tmp_path / "1.jpg", textured(1)).read_bytes()
    save(tmp_path / "4.png", textured(4))
    (tmp_path / "2.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "3.png").write_text("not a picture")
    (tmp_path / "5.png").symlink_to(tmp_path / "gone.png")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [(frame.index, frame.name) for frame in frames] == [(0, "1.jpg"), (1, "4.png")]
    assert source.dropped == {"unreadable": 3}


def test_only_damaged_pictures_are_an_error(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("not a picture")
    with open_source(str(tmp_path)) as source, pytest.raises(SourceError, match="none of 3"):
        list(source)


def test_class_folders_give_labels_by_name_and_by_number(tmp_path: Path, save: Save) -> None:
    for name in (
        "cat/a.png",
        "Great_Dane/b.png",
        "7/c.png",
        "1/d.png",
        "else/e.png",
        "cat/a10.png",
    ):
        save(tmp_path / name, textured(1))
    assert _labels(tmp_path, ["cat", "great dane", "fox"]) == {
        "1/d.png": 1,
        "7/c.png": None,
        "Great_Dane/b.png": 1,
        "cat/a.png": 0,
        "cat/a10.png": 0,
        "else/e.png": None,
    }
    assert _labels(tmp_path)["7/c.png"] == 7


def test_subfolders_are_read_only_when_they_are_classes_or_all_there_is(
    tmp_path: Path, save: Save
) -> None:
    save(tmp_path / "a" / "top.png", textured(1))
    save(tmp_path / "a" / "thumbnails" / "small.png", textured(2))
    save(tmp_path / "a" / ".cache" / "old.png", textured(2))
    assert _names(tmp_path / "a") == ["top.png"]
    assert _names(tmp_path) == ["a/thumbnails/small.png", "a/top.png"]
    save(tmp_path / "a" / "3" / "three.png", textured(3))
    assert _names(tmp_path / "a") == ["3/three.png", "thumbnails/small.png", "top.png"]


@pytest.mark.parametrize("form", ["folders", "csv"])
def test_labels_that_are_no_class_are_told(
    form: str, tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(("cat", "cat", "kat", "dog")):
        (tmp_path / name).mkdir(exist_ok=True)
        place = tmp_path / name if form == "folders" else tmp_path
        save(place / f"{number}.png", textured(number))
    if form == "csv":
        rows = "file,label\n0.png,cat\n1.png,cat\n2.png,kat\n3.png,dog\n"
        (tmp_path / "labels.csv").write_text(rows)
    with open_source(str(tmp_path), classes=("cat", "dog")) as source:
        assert sorted(str(frame.label) for frame in source) == ["0", "0", "1", "None"]
    (said,) = caplog.messages
    assert "1 of the labels are no class of the network (kat)" in said
    caplog.clear()
    with open_source(str(tmp_path), classes=("cat", "dog", "kat")) as source:
        assert None not in [frame.label for frame in source]
    assert not caplog.messages


def test_folders_that_are_called_as_no_class_are_no_labels(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "monday").mkdir()
    save(tmp_path / "monday" / "0.png", textured(0))
    with open_source(str(tmp_path), classes=("cat", "dog")) as source:
        assert [frame.label for frame in source] == [None]
    (tmp_path / "labels.csv").write_text("file,label\nmonday/1.png,cat\n")
    save(tmp_path / "monday" / "1.png", textured(1))
    with open_source(str(tmp_path), classes=("cat", "dog")) as source:
        assert [frame.label for frame in source] == [None, 0]
    assert not caplog.messages


def test_names_that_two_classes_share_give_no_label() -> None:
    names = ClassNames(["crane", "dog", "crane", "Dog"])
    assert names.index("crane") is None
    assert names.index("dog") == 1
    assert names.index("Dog") == 3
    assert names.index("DOG") is None
    assert names.index("3") == 3
    assert names.index("4") is None


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("file,label\na.png,3\nb.png,0\n", (3, 0)),
        ("filename;x,class\na.png,3\n", None),
        ("name , Class\na.png, great dane\nb.png,unheard of\n", (1, None)),
        ("\ufeffFILE,extra,LABEL\na.png,x,2\nb.png,x,99\n", (2, None)),
        ("ImageId,URL,TrueLabel\na,http://x,4\nb,http://y,1\n", (3, 0)),
        ("file,label\n", (None, None)),
        ("a.png,3\nb.png,0\n", None),
    ],
)
def test_labels_csv(
    tmp_path: Path, save: Save, table: str, expected: tuple[int | None, int | None] | None
) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name, textured(1))
    (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
    classes = ["cat", "great dane", "fox", "emu"]
    if expected is None:
        with pytest.raises(SourceError, match="header"):
            open_source(str(tmp_path), classes=classes)
        return
    labels = {"a.png": expected[0], "b.png": expected[1]}
    assert _labels(tmp_path, classes) == labels
    assert _labels(tmp_path / "*.png", classes) == labels
    assert _labels(tmp_path / "a.png", classes) == {"a.png": expected[0]}


def test_labels_csv_in_the_top_folder_names_files_in_subfolders(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "day" / "a.png", textured(1))
    (tmp_path / "labels.csv").write_text("path,label\nday/a.png,5\n")
    assert _labels(tmp_path) == {"day/a.png": 5}


def test_pattern_reads_what_it_matches(tmp_path: Path, save: Save) -> None:
    for name in ("in/2/b10.png", "in/2/b9.png", "in/3/c.jpg", "in/a.png"):
        save(tmp_path / name, textured(1))
    (tmp_path / "in" / "a.txt").write_text("x")
    assert _names(tmp_path / "in" / "*") == ["a.png"]
    assert _labels(tmp_path / "in" / "**" / "*.png") == {
        "2/b9.png": 2,
        "2/b10.png": 2,
        "a.png": None,
    }


def test_home_is_expanded(tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "a.png", textured(1))
    assert _names("~/a.png") == _names("~/*.png") == _names("~") == ["a.png"]


def test_brackets_in_a_real_name_are_no_pattern(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "day [1]" / "a.png", textured(1))
    assert _names(tmp_path / "day [1]") == ["a.png"]


def test_real_pictures_have_their_labels(outside_data: Path) -> None:
    folder = outside_data / "data" / "nips17_dev"
    rows = (folder / "labels.csv").read_text().split()[1:]
    expected = dict(row.split(",") for row in rows)
    with open_source(str(folder), stride=25) as source:
        frames = list(source)
    assert len(frames) == source.length == 20
    assert all(frame.label == int(expected[frame.name]) for frame in frames)
    assert not source.dropped
