"""Metrics and sets of masks and boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.corruptions.tables import TABLES, scaled
from bench.dense.metrics import Masks, Truth, map50, recall
from bench.dense.sets import load_dense_set
from edge_tta.errors import SourceError
from edge_tta.tasks import Classes
from edge_tta.tasks.detection import Boxes, overlaps


def _boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    """Boxes x1 y1 x2 y2 score class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    order = np.argsort(-table[:, 4], kind="stable")
    return Boxes(table[order, :4], table[order, 4], table[order, 5].astype(np.int64))


def _truth(*rows: tuple[float, float, float, float, int, bool]) -> Truth:
    table = np.array(rows, float).reshape(-1, 6)
    return Truth(table[:, :4], table[:, 4].astype(np.int64), table[:, 5].astype(bool))


def test_miou_is_the_mean_over_labelled_classes_and_what_is_ignored_counts_for_nothing() -> None:
    masks = Masks(4, [3])
    masks.add(np.array([[0, 0, 1, 2]], np.uint8), np.array([[0, 1, 1, 3]], np.uint8))
    # Class 0: 1 of 2. Class 1: 1 of 2. Classes 2 and 3 are not labelled.
    assert masks.miou() == pytest.approx(0.5)
    assert masks.error() == pytest.approx(1 / 3)


def test_a_smaller_mask_is_enlarged() -> None:
    masks = Masks(2, ())
    truth = np.kron(np.array([[0, 1]], np.uint8), np.ones((4, 4), np.uint8))
    masks.add(np.array([[0, 1]], np.uint8), truth)
    assert masks.miou() == 1


def test_overlap_is_over_the_union_and_in_a_crowd_over_the_box() -> None:
    a, b = np.array([[0, 0, 1, 1.0]]), np.array([[0, 0, 2, 2.0]])
    assert overlaps(a, b, np.array([False]))[0, 0] == pytest.approx(0.25)
    assert overlaps(a, b, np.array([True]))[0, 0] == pytest.approx(1)


def test_average_precision_falls_with_false_boxes_above_and_targets_missed() -> None:
    truth = _truth((0, 0, 0.4, 0.4, 0, False), (0.5, 0.5, 0.9, 0.9, 0, False))
    right, other = (0, 0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)
    false = (0.5, 0, 0.9, 0.3)
    assert map50([_boxes((*right, 0.9, 0), (*other, 0.8, 0))], [truth]) == pytest.approx(1)
    # One of two found, first: precision 1 up to recall .5, which 51 of 101 recalls reach.
    assert map50([_boxes((*right, 0.9, 0))], [truth]) == pytest.approx(51 / 101)
    below = map50([_boxes((*right, 0.9, 0), (*other, 0.8, 0), (*false, 0.7, 0))], [truth])
    above = map50([_boxes((*right, 0.9, 0), (*other, 0.8, 0), (*false, 0.95, 0))], [truth])
    assert below == pytest.approx(1)
    assert above == pytest.approx(2 / 3)
    assert map50([_boxes((*right, 0.9, 1))], [truth]) == 0
    assert map50([_boxes()], [truth]) == 0


def test_a_second_box_on_a_target_is_false_and_one_in_a_crowd_is_nothing() -> None:
    truth = _truth((0, 0, 0.4, 0.4, 0, False), (0.5, 0, 1, 1, 0, True))
    twice = _boxes((0, 0, 0.4, 0.4, 0.8, 0), (0, 0, 0.4, 0.39, 0.9, 0))
    assert map50([twice], [truth]) == pytest.approx(1)
    late = _truth((0, 0, 0.4, 0.4, 0, False), (0.6, 0.6, 0.9, 0.9, 0, False))
    third = _boxes(
        (0, 0, 0.4, 0.4, 0.9, 0), (0, 0, 0.4, 0.39, 0.8, 0), (0.6, 0.6, 0.9, 0.9, 0.7, 0)
    )
    assert map50([third], [late]) == pytest.approx((51 + 50 * 2 / 3) / 101)
    crowded = _boxes((0.6, 0.1, 0.8, 0.3, 0.95, 0), (0, 0, 0.4, 0.4, 0.9, 0))
    assert map50([crowded], [truth]) == pytest.approx(1)


def test_recall_asks_for_class_score_and_overlap() -> None:
    truth = _truth((0, 0, 0.4, 0.4, 0, False), (0.5, 0.5, 0.9, 0.9, 1, False))
    boxes = _boxes((0, 0, 0.4, 0.4, 0.9, 0), (0.5, 0.5, 0.9, 0.9, 0.2, 1))
    assert recall([boxes], [truth]) == 0.5
    assert recall([_boxes()], [truth]) == 0


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_a_folder_and_an_npz_of_the_same_pictures_are_the_same_set(
    task: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (3, 20, 30, 3), np.uint8)
    masks = rng.integers(0, 4, (3, 20, 30), np.uint8)
    folder = tmp_path / "set"
    (folder / "labels").mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), pictures[i, ..., ::-1])
        if task == "segment":
            cv2.imwrite(str(folder / "labels" / f"{i}.png"), masks[i])
        else:
            (folder / "labels" / f"{i}.txt").write_text(f"{i} .5 .5 .2 .4\n" * i)
    path = tmp_path / "set.npz"
    if task == "segment":
        np.savez(path, images=pictures, masks=masks)
    else:
        box, label = [[0.4, 0.3, 0.6, 0.7]] * 3, [1, 2, 2]
        np.savez(path, images=pictures, box=box, label=label, box_off=[0, 0, 1, 3])
    for stride, limit, chosen in ((1, None, [0, 1, 2]), (2, None, [0, 2]), (1, 2, [0, 1])):
        for place in (folder, path):
            data = load_dense_set(place, task, Classes(4), limit=limit, stride=stride)
            assert len(data) == len(chosen)
            for picture, i in zip(data.pictures(), chosen, strict=True):
                np.testing.assert_array_equal(picture, pictures[i])
            for truth, i in zip(data.truths, chosen, strict=True):
                if isinstance(truth, Truth):
                    assert truth.classes.tolist() == [i] * i
                    assert np.allclose(truth.corners, [0.4, 0.3, 0.6, 0.7])
                else:
                    np.testing.assert_array_equal(truth, masks[i])


def test_a_set_without_labels_is_refused_in_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", images=np.zeros((2, 20, 20, 3), np.uint8))
    for task in ("segment", "detect"):
        with pytest.raises(SourceError, match=r"expected an \.npz with pictures") as caught:
            load_dense_set(tmp_path / "plain.npz", task, Classes(4))
        assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="no set at"):
        load_dense_set(tmp_path / "nothing.npy", "segment", Classes(4))


@pytest.mark.parametrize("name", TABLES["imagenet"])
def test_lengths_grow_with_the_picture_and_nothing_else_does(name: str) -> None:
    for parameter in TABLES["imagenet"][name]:
        assert scaled(parameter, 1) == parameter
    once, twice = (scaled(TABLES["imagenet"][name][2], factor) for factor in (1, 2))
    with_lengths = ("defocus_blur", "glass_blur", "motion_blur", "snow", "elastic_transform")
    assert (once != twice) == (name in with_lengths)
