"""Tasks: what a network's outputs mean. One module, one task; a new one is named in TASKS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_tta.errors import ConfigError
from edge_tta.tasks.base import Classes, Comparable, Reading, Task, can_be_guarded
from edge_tta.tasks.classification import Classification
from edge_tta.tasks.detection import ClassLogits, Decode, Detection
from edge_tta.tasks.features import Features
from edge_tta.tasks.segmentation import Segmentation

_MAKERS: tuple[Callable[[], Task], ...] = (Classification, Segmentation, Detection, Features)

TASKS = {make().name: make for make in _MAKERS}
"""Makers of tasks by name, in the order in which they are tried on outputs."""


def task_named(
    name: str, decode: Decode | None = None, class_logits: ClassLogits | None = None
) -> Task:
    """Return a task. decode, class_logits: of a model's file; detection has a use for them.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in TASKS:
        raise ConfigError(f"task must be one of {', '.join(TASKS)}, got {name!r}")
    if name == Detection.name:
        return Detection(decode, class_logits)
    return TASKS[name]()


def find_task(outputs: Any, image_shape: Sequence[int]) -> Task:
    """Return the task that outputs for images (channels, H, W) look like; boxes look like none."""
    tasks = (make() for name, make in TASKS.items() if name != Detection.name)
    found = next(task for task in tasks if not task.takes(outputs, image_shape))
    if isinstance(found, Segmentation) and found.like_a_detector(outputs, image_shape):
        return Features()
    return found


__all__ = [
    "TASKS",
    "ClassLogits",
    "Classes",
    "Classification",
    "Comparable",
    "Decode",
    "Detection",
    "Features",
    "Reading",
    "Segmentation",
    "Task",
    "can_be_guarded",
    "find_task",
    "task_named",
]
