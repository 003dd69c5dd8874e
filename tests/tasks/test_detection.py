"""Boxes, read by a user's decode, thinned out, told and painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.errors import ModelError
from edge_tta.tasks import Classes, Detection

NAMES = Classes(1, ("person", "car"))
BOXES = [[0.1, 0.1, 0.5, 0.6], [0.11, 0.1, 0.5, 0.6], [0.11, 0.1, 0.5, 0.6], [0.6, 0.6, 1.2, 0.9]]
SCORES, NUMBERS = [0.8, 0.9, 0.7, 0.4], [0, 0, 1, 1]


def _decode(outputs: Any) -> Any:
    return [(np.array(BOXES), np.array(SCORES) * outputs, np.array(NUMBERS))]


def test_of_boxes_that_cover_one_another_the_best_of_its_class_stays() -> None:
    boxes = Detection(_decode).boxes(1.0)
    np.testing.assert_allclose(boxes.scores, [0.9, 0.7, 0.4], rtol=1e-6)
    assert boxes.classes.tolist() == [0, 1, 1]
    assert boxes.corners.max() <= 1


def test_boxes_are_told_in_pixels_of_the_frame_with_class_and_score() -> None:
    reading = Detection(_decode).read(1.0, NAMES)
    first, *others = reading.record(100, 200)["boxes"]
    assert first["box"] == pytest.approx([22, 10, 78, 50], abs=1e-3)
    assert (first["label"], first["class"], len(others)) == ("person", 0, 2)
    assert first["score"] == pytest.approx(0.9)
    assert reading.label == "2 car, 1 person"


def test_boxes_of_low_score_are_not_told_but_kept_for_a_metric() -> None:
    task = Detection(_decode)
    assert len(task.boxes(0.3).scores) == 3
    reading = task.read(0.3, NAMES)
    assert (reading.label, reading.record(10, 10)) == ("nothing", {"boxes": []})


def test_boxes_are_drawn_and_the_sources_thinner() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    reading = Detection(_decode).read(1.0, NAMES)
    alone, both = (reading.painted(pixels, source) for source in (None, reading))
    assert alone.any()
    assert both.any()
    assert not pixels.any()
    nothing = Detection(_decode).read(0.1, NAMES)
    dashed = nothing.painted(pixels, reading)
    assert 0 < np.count_nonzero(dashed) < np.count_nonzero(alone)


@pytest.mark.parametrize(
    ("decode", "said"),
    [
        (None, r"need a decode\(outputs\)"),
        (lambda outputs: 1 / 0, "decode fails with ZeroDivisionError"),
        (lambda outputs: [], "decode fails with ValueError: .*expected"),
        (lambda outputs: [(np.zeros((2, 3)), np.zeros(2), np.zeros(2))], "decode fails with"),
        (lambda outputs: [(np.ones((1, 4)), np.full(1, 5.5), np.zeros(1))], "need a sigmoid"),
        (lambda outputs: [(np.full((3, 4), 99.0), np.ones(3), np.zeros(3))], "not in pixels"),
    ],
)
def test_a_decode_that_is_none_is_told_in_one_line(decode: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        Detection(decode).boxes(1.0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("class_logits", "said"),
    [
        (lambda outputs: 1 / 0, "class_logits fails with ZeroDivisionError"),
        (lambda outputs: outputs, r"class_logits gives \(2, 3, 4\); expected class logits"),
        (lambda outputs: outputs[0], r"class_logits gives \(3, 4\); expected class logits"),
        (lambda outputs: outputs[:, :0, 0], r"class_logits gives \(2, 0\); expected"),
        (lambda outputs: outputs.reshape(-1, 1), r"class_logits gives \(24, 1\); expected"),
        (lambda outputs: outputs.reshape(-1, 4), "numbers without a gradient"),
    ],
)
def test_class_logits_that_are_none_are_told_in_one_line(class_logits: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        Detection(None, class_logits).votes(np.zeros((2, 3, 4)))
    assert "\n" not in str(caught.value)


def test_a_detector_has_a_loss_where_it_gives_class_logits() -> None:
    assert not Detection().learns
    assert Detection().votes(np.zeros((2, 3, 4))) is None
    task = Detection(None, lambda outputs: outputs.reshape(6, 4))
    assert task.learns
    outputs = torch.zeros((2, 3, 4), requires_grad=True)
    assert task.votes(outputs).shape == (6, 4)
    with pytest.raises(ModelError, match="numbers without a gradient"):
        Detection(None, lambda outputs: outputs.detach().reshape(6, 4)).votes(outputs)


def test_wild_boxes_of_a_network_gone_astray_do_not_end_a_run() -> None:
    task = Detection(_decode)
    assert len(task.boxes(1.0).scores) == 3
    wild = [(np.full((1, 4), 99.0), np.full(1, 5.5), np.zeros(1))]
    task._decode = lambda outputs: wild
    assert task.boxes(1.0).corners.max() <= 1
