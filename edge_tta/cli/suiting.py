"""Options that do not suit the network: told once that is known, in one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.config import make_config
from edge_tta.errors import ConfigError
from edge_tta.run.frame_result import FILTER, SOURCE
from edge_tta.tasks import Detection, Task, can_be_guarded


def check_box_labels(names: Sequence[str], adapter: Adapter) -> None:
    """Refuses class names that are too few for the boxes in noise, where classes are many.

    Raises:
        ConfigError: boxes are of a class without a name. ModelError: its decode fails.
    """
    task = adapter.task
    if not isinstance(task, Detection) or not task.has_decode:
        return
    shape = 1, *adapter.engine.image_shape
    noise = np.random.default_rng(0).random(shape, dtype=np.float32)
    largest = max(task.boxes(adapter.predict_source(noise)).classes, default=0)
    if largest >= len(names):
        raise ConfigError(
            f"there are {len(names)} class names and the network has boxes of class {largest}, "
            "counted from 0; give one name for each class, in their order: --labels FILE"
        )


def check_host(arguments: argparse.Namespace, task: Task | None) -> None:
    """Refuses a host that was asked for and has no loss to train by.

    Raises:
        ConfigError: it trains, and networks of the task only calibrate.
    """
    method = options.method_named(arguments)
    if task is None or task.learns or ":" not in method or not make_config(method).trains:
        return
    raise ConfigError(
        f"{method} trains by a loss on classes, and the outputs of this network (task "
        f"{task.name}) have none; leave the host out, or give --host norm, which calibrates"
    )


def check_guard(arguments: argparse.Namespace, adapter: Adapter) -> None:
    """Refuses a guard that was asked for where there is nothing to guard, or to judge by.

    Raises:
        ConfigError: it is the source network, or nothing tells how sure it is.
    """
    task = adapter.task
    if arguments.guard != "on" or task is None:
        return
    if not can_be_guarded(task):
        why = f"is for outputs that tell how sure a network is, and this is {task.name}"
    elif adapter.config.method == SOURCE:
        why = "is for networks that adapt, and the method is source"
    else:
        return
    raise ConfigError(f"--guard on {why}; leave it out")


def check_filter(arguments: argparse.Namespace, task: Task) -> None:
    """Refuses a filter that was asked for, or needed, of a network that is no classifier.

    Raises:
        ConfigError: the frames of the task are not of one class each.
    """
    compared = any(name.endswith(FILTER) for name in arguments.compare or ())
    asked = {
        "--filter on": arguments.filter == "on",
        "--alarm-below": arguments.alarm_below,
        f"{FILTER} in --compare": compared,
    }
    for option, given in asked.items():
        if given and not task.filtered:
            raise ConfigError(
                f"{option} is for classifiers, with one class a frame, and this is {task.name}; "
                "leave it out"
            )
