"""The task that outputs are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_tta.errors import ConfigError
from edge_tta.tasks import TASKS, find_task, task_named

IMAGE = (3, 24, 32)


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        (_zeros(2, 10), "classify"),
        (_zeros(2), "classify"),
        (_zeros(2, 5, 24, 32), "segment"),
        (_zeros(2, 5, 6, 8), "segment"),
        ({"out": _zeros(2, 5, 24, 32), "aux": _zeros(2, 5, 24, 32)}, "segment"),
        ([_zeros(2, 5, 12, 16), _zeros(2, 9)], "segment"),
        (_zeros(2, 5, 8, 8), "features"),
        (_zeros(2, 1, 24, 32), "features"),
        (_zeros(2, 300, 4), "features"),
        ([_zeros(2, 10)], "features"),
        (_zeros(2, 5, 3, 4), "segment"),
        # Detectors: one coarse map, and a pyramid of them.
        (_zeros(2, 85, 1, 2), "features"),
        (_zeros(2, 85, 2, 2), "features"),
        ([_zeros(2, 24, 6, 8), _zeros(2, 24, 3, 4)], "features"),
        ({"p3": _zeros(2, 64, 12, 16), "p4": _zeros(2, 64, 6, 8)}, "features"),
        ({"scores": _zeros(2, 99, 91), "boxes": _zeros(2, 99, 4)}, "features"),
    ],
)
def test_a_task_is_found_by_the_outputs_shape(outputs: Any, name: str) -> None:
    assert find_task(outputs, IMAGE).name == name


def test_a_coarse_map_is_a_mask_where_the_user_says_so() -> None:
    coarse, image = _zeros(2, 21, 14, 14), (3, 224, 224)
    assert find_task(coarse, image).name == "features"
    assert task_named("segment").takes(coarse, image) == ""


def test_boxes_are_found_by_name_alone() -> None:
    assert all(task_named(name).name == name for name in TASKS)
    with pytest.raises(ConfigError, match="task must be one of classify, segment, detect"):
        task_named("track")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_the_outputs_of_another_lack(name: str) -> None:
    said = task_named(name).takes(_zeros(2, 3, 4, 5, 6), IMAGE)
    assert said == "" if name in ("detect", "features") else said.startswith("expected logits")
