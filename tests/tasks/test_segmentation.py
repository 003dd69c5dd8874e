"""Masks, read, told and painted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edge_tta.show.colours import colour_of
from edge_tta.tasks import Classes, Segmentation

CLASSES = Classes(3, ("road", "sky", "tree"))
TASK = Segmentation()


def _logits() -> np.ndarray:  # type: ignore[type-arg]
    """Logits (1, 3, 4, 8): the upper half sky, a corner of 2 x 2 tree, the rest road."""
    mask = np.zeros((4, 8), int)
    mask[:2] = 1
    mask[2:, 6:] = 2
    return np.eye(3, dtype=np.float32)[mask].transpose(2, 0, 1)[None] * 9


def test_votes_are_the_positions_of_an_image_one_after_another() -> None:
    outputs = torch.randn(2, 3, 4, 5)
    votes = TASK.votes({"aux": outputs + 1, "out": outputs})
    expected = [outputs[n, :, y, x] for n in range(2) for y in range(4) for x in range(5)]
    torch.testing.assert_close(votes, torch.stack(expected))


def test_a_mask_is_told_by_the_shares_of_its_classes() -> None:
    reading = TASK.read(_logits(), CLASSES)
    record = reading.record(4, 8)
    assert record["classes"] == {"sky": 0.5, "road": 0.375, "tree": 0.125}
    assert (reading.label, reading.index) == ("sky 50%, road 38%, tree 12%", 1)
    assert [name for name, _ in reading.legend] == ["sky", "road", "tree"]


def test_the_entropy_of_even_logits_is_the_largest() -> None:
    reading = TASK.read(np.zeros((1, 3, 8, 8), np.float32), CLASSES)
    assert reading.entropy == pytest.approx(math.log(3))
    assert reading.entropy_share == pytest.approx(1)


def test_classes_that_do_not_count_are_no_answers() -> None:
    among = np.array([0, 2], np.uint8)
    mask = TASK.mask(_logits(), among)
    assert set(among[mask].ravel()) == {0, 2}


def test_masks_are_blended_over_the_frame_the_sources_beside() -> None:
    pixels = np.full((40, 80, 3), 100, np.uint8)
    reading = TASK.read(_logits(), CLASSES)
    painted = reading.painted(pixels, None)
    expected = np.mean([np.array(colour_of(1)), [100] * 3], axis=0)
    np.testing.assert_allclose(painted[0, 0], expected, atol=1)
    both = reading.painted(pixels, TASK.read(_logits()[:, ::-1], CLASSES))
    assert both.shape == (40, 160, 3)
    np.testing.assert_array_equal(both[:, :80], painted)
    assert not np.array_equal(both[:, 80:], painted)
    assert (pixels == 100).all()
