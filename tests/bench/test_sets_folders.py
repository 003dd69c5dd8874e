"""Sets in folders: ImageNet-C trees, labelled pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.sets import CLEAN, load_set
from edge_tta.errors import SourceError
from tests.bench.pictures import CLASSES, LABELS, SIZE, N, pictures
from tests.frames.media import Pixels

Name = Callable[[int], str]


def _save(path: Path, picture: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def _tree(root: Path, groups: dict[str, str], name: Name) -> Path:
    """<group>/<corruption>/<severity>/<picture>."""
    for seed, (corruption, group) in enumerate(groups.items()):
        for severity in (3, 5):
            for i, picture in enumerate(pictures(10 * seed + severity)):
                _save(root / group / corruption / str(severity) / name(i), picture)
    return root


@pytest.mark.parametrize("group", ["", "weather"])
def test_a_tree_of_class_folders_is_read(group: str, tmp_path: Path) -> None:
    groups = {"fog": group, "snow": group, "jpeg_compression": "digital" if group else ""}
    root = _tree(tmp_path / "C", groups, lambda i: f"{CLASSES[LABELS[i]]}/{i}.png")
    data = load_set(root, SIZE, severity=3, classes=CLASSES)
    assert data.severity == 3
    assert set(data.corruptions) == set(groups)
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(data.labels, LABELS[order])
    np.testing.assert_array_equal(data.corruptions["snow"], pictures(13)[order])


def test_class_folders_that_are_numbers_are_no_severities(tmp_path: Path) -> None:
    """<corruption>/<severity>/<class number>: class 5 is not a corruption of severity 5."""
    root = _tree(tmp_path / "C", {"fog": "", "snow": ""}, lambda i: f"{i}/{i}.png")
    data = load_set(root, SIZE, severity=5)
    assert list(data.corruptions) == ["fog", "snow"]
    np.testing.assert_array_equal(data.labels, range(N))
    np.testing.assert_array_equal(data.corruptions["snow"], pictures(15))


def test_clean_pictures_beside_the_corruptions_are_read_too(tmp_path: Path) -> None:
    root = _tree(tmp_path / "C", {"fog": ""}, lambda i: f"cat/{i}.png")
    for i, picture in enumerate(pictures(99)):
        _save(root / CLEAN / "cat" / f"{i}.png", picture)
    data = load_set(root, SIZE, classes=CLASSES)
    assert list(data.corruptions) == ["fog", CLEAN]
    np.testing.assert_array_equal(data.corruptions[CLEAN], pictures(99))


def test_a_severity_that_is_not_there_is_told(tmp_path: Path) -> None:
    root = _tree(tmp_path / "C", {"fog": ""}, lambda i: f"cat/{i}.png")
    with pytest.raises(SourceError, match="has no severity 4; it has 3, 5"):
        load_set(root, SIZE, severity=4, classes=CLASSES)


def test_corruptions_of_other_pictures_are_refused(tmp_path: Path) -> None:
    root = _tree(tmp_path / "C", {"fog": "", "snow": ""}, lambda i: f"cat/{i}.png")
    (root / "snow" / "5" / "cat" / "2.png").rename(root / "snow" / "5" / "cat" / "9.png")
    with pytest.raises(SourceError, match="not hold the same pictures"):
        load_set(root, SIZE, classes=CLASSES)


def test_a_damaged_picture_does_not_shift_the_labels(tmp_path: Path) -> None:
    root = _tree(tmp_path / "C", {"fog": "", "snow": ""}, lambda i: f"cat/{i}.png")
    (root / "snow" / "5" / "cat" / "2.png").write_bytes(b"damaged")
    with pytest.raises(SourceError, match="not hold the same pictures"):
        load_set(root, SIZE, classes=CLASSES)


def test_a_folder_with_a_table_of_labels_is_clean(tmp_path: Path) -> None:
    for i, picture in enumerate(pictures(1)):
        _save(tmp_path / f"{i}.png", picture)
    rows = [f"{i}.png,{CLASSES[label]}" for i, label in enumerate(LABELS)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    data = load_set(tmp_path, SIZE, classes=CLASSES)
    assert (list(data.corruptions), data.severity) == ([CLEAN], 0)
    np.testing.assert_array_equal(data.labels, LABELS)
    limited = load_set(tmp_path, SIZE, classes=CLASSES, limit=2)
    np.testing.assert_array_equal(limited.corruptions[CLEAN], pictures(1)[:2])


def test_pictures_without_labels_are_told(tmp_path: Path) -> None:
    _save(tmp_path / "1.png", pictures(1)[0])
    with pytest.raises(SourceError, match=r"no labels; expected a labels\.csv"):
        load_set(tmp_path, SIZE)


def test_nothing_there_is_told_with_the_forms(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no set at .*ImageNet-C tree"):
        load_set(tmp_path / "gone", SIZE)
