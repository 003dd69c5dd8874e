"""Labels of masks and boxes in files beside pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bench.dense.metrics import Truth
from bench.dense.sets import load_dense_set
from edge_tta.errors import ConfigError, EdgeTTAError, SourceError
from edge_tta.tasks import Classes

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
MASK = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)


def _pictures(folder: Path, count: int = 2) -> Path:
    (folder / "labels").mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((20, 30, 3), 40 * i, np.uint8))
    return folder


def _masks(folder: Path, mask: np.ndarray[Any, Any], palette: list[int] | None = None) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    picture = pillow.fromarray(mask)
    if palette is not None:
        picture.putpalette(palette)
    for i in range(2):
        picture.save(folder / "labels" / f"{i}.png")
    return folder


def _segment(folder: Path, classes: int = 4, ignored: tuple[int, ...] = ()) -> list[Any]:
    return list(load_dense_set(folder, "segment", Classes(classes), ignored=ignored).truths)


def _detect(folder: Path, names: tuple[str, ...] | None = None) -> list[Truth]:
    truths: Any = load_dense_set(folder, "detect", Classes(1, names)).truths
    return list(truths)


def _one_line(error: EdgeTTAError, *words: str) -> None:
    assert "\n" not in str(error)
    assert all(word in str(error) for word in words), error


def test_a_mask_with_a_palette_has_its_indices(tmp_path: Path) -> None:
    folder = _masks(_pictures(tmp_path / "set"), MASK, PALETTE)
    for mask in _segment(folder):
        np.testing.assert_array_equal(mask, MASK)
    data = (folder / "labels" / "0.png").read_bytes()
    np.savez(
        tmp_path / "set.npz",
        images=np.zeros((1, 20, 30, 3), np.uint8),
        label_png=np.frombuffer(data, np.uint8),
        label_off=[0, len(data)],
    )
    np.testing.assert_array_equal(_segment(tmp_path / "set.npz")[0], MASK)


def test_a_mask_may_be_gray_in_three_channels_and_not_in_colour(tmp_path: Path) -> None:
    folder = _masks(_pictures(tmp_path / "set"), np.repeat(MASK[..., None], 3, 2))
    np.testing.assert_array_equal(_segment(folder)[0], MASK)
    _masks(folder, np.stack([MASK, MASK + 1, MASK], 2))
    with pytest.raises(SourceError) as caught:
        _segment(folder)
    _one_line(caught.value, "0.png is in colour", "indices of a palette")


def test_a_label_of_no_class_is_told_unless_it_is_ignored(tmp_path: Path) -> None:
    folder = _masks(_pictures(tmp_path / "set"), np.array([[0, 255], [1, 1]], np.uint8))
    with pytest.raises(SourceError) as caught:
        _segment(folder)
    _one_line(caught.value, "0.png", "label 255", "4 classes", "--ignore 255")
    assert len(_segment(folder, ignored=(255,))) == 2


def test_a_set_without_a_labelled_pixel_and_a_network_without_a_class_are_told(
    tmp_path: Path,
) -> None:
    folder = _masks(_pictures(tmp_path / "set"), np.full((2, 3), 255, np.uint8))
    with pytest.raises(SourceError) as caught:
        _segment(folder, ignored=(255,))
    _one_line(caught.value, "no label that counts in 2 pictures")
    with pytest.raises(ConfigError) as refused:
        _segment(folder, ignored=(0, 1, 2, 3))
    _one_line(refused.value, "--ignore leaves none of the network's 4 classes")


def test_a_picture_without_a_file_of_boxes_has_none_where_another_has_one(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "set")
    with pytest.raises(SourceError) as caught:
        _detect(folder)
    _one_line(caught.value, "no file of boxes", "0.txt")
    (folder / "labels" / "1.txt").write_text("2 .5 .5 .2 .4\n\n")
    assert [truth.classes.tolist() for truth in _detect(folder)] == [[], [2]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 15 10 20 10", "is outside 0..1"),
        ("0 .5 .5 -.2 .4", "is outside 0..1"),
        ("0 .5 .5 nan .4", "is outside 0..1"),
        ("0 " + ".1 .2 " * 7, "not five numbers"),
        ("7 .5 .5 .2 .4", "label 7 and the network has 2 classes"),
    ],
)
def test_lines_that_are_no_box_are_told(line: str, said: str, tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "set")
    (folder / "labels" / "1.txt").write_text(line + "\n")
    with pytest.raises(SourceError) as caught:
        _detect(folder, ("cat", "dog"))
    _one_line(caught.value, "1.txt", said)


def _coco(folder: Path, **changes: Any) -> Path:
    """COCO's file of three pictures, one of which is not there, and two categories."""
    images = [{"id": 70 + i, "file_name": f"{i}.png", "width": 60, "height": 40} for i in (2, 1, 0)]
    box: dict[str, Any] = {"image_id": 71, "category_id": 90, "bbox": [6, 4, 12, 8]}
    crowd = {**box, "image_id": 70, "category_id": 17, "iscrowd": 1}
    categories = [{"id": 90, "name": "dog"}, {"id": 17, "name": "cat"}]
    document = {"images": images, "annotations": [box, crowd], "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document | changes))
    return folder


def test_a_folder_may_have_its_boxes_as_coco_does(tmp_path: Path) -> None:
    folder = _coco(_pictures(tmp_path / "set"))
    for names in (None, ("cat", "dog"), ("tom", "rex")):
        crowded, plain = _detect(folder, names)
        np.testing.assert_allclose(plain.corners, [[0.1, 0.1, 0.3, 0.3]])
        assert (plain.classes.tolist(), plain.crowd.tolist()) == ([1], [False])
        assert (crowded.classes.tolist(), crowded.crowd.tolist()) == ([0], [True])
    # A network may count otherwise, as those do whose class numbers are COCO's ids.
    assert _detect(folder, ("none", "dog", "none", "cat"))[1].classes.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"categories": [{"id": 17, "name": "cow"}, {"id": 90}]}, "2 categories"),
        ({"images": []}, "cannot be read (KeyError"),
        ({"annotations": 3}, "cannot be read (TypeError"),
        ({"annotations": []}, "no label that counts"),
    ],
)
def test_a_file_that_is_not_coco_s_is_told(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = _coco(_pictures(tmp_path / "set"), **changes)
    with pytest.raises(SourceError) as caught:
        _detect(folder, ("cat", "dog", "owl"))
    _one_line(caught.value, said)


def test_a_picture_that_coco_s_file_does_not_list_is_told(tmp_path: Path) -> None:
    folder = _coco(_pictures(tmp_path / "set", 4))
    with pytest.raises(SourceError) as caught:
        _detect(folder)
    _one_line(caught.value, "lists no picture 3.png")


def test_coco_s_pictures_are_the_same_set_as_a_folder(outside_data: Path, tmp_path: Path) -> None:
    path = outside_data / "data" / "coco_val64.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    ends, parts = arrays["jpeg_off"], arrays["box_off"]
    images, boxes = [], []
    for i, name in enumerate(map(str, arrays["name"])):
        (tmp_path / name).write_bytes(arrays["jpeg"][ends[i] : ends[i + 1]].tobytes())
        images.append({"id": i, "file_name": name, "width": 352, "height": 352})
        for k in range(parts[i], parts[i + 1]):
            x1, y1, x2, y2 = (arrays["box"][k].astype(float) * 352).tolist()
            number, crowd = 3 * int(arrays["label"][k]) + 1, int(arrays["crowd"][k])
            box = {"image_id": i, "category_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            boxes.append({**box, "iscrowd": crowd})
    categories = [{"id": 3 * k + 1, "name": str(k)} for k in range(80)]
    document = {"images": images, "annotations": boxes, "categories": categories}
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    for one, other in zip(_detect(tmp_path), _detect(path), strict=True):
        np.testing.assert_allclose(one.corners, other.corners, atol=1e-6)
        np.testing.assert_array_equal(one.classes, other.classes)
        np.testing.assert_array_equal(one.crowd, other.crowd)
