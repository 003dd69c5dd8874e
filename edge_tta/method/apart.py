"""Views of a frame that run one after another, each forward and backward before the next.

Fewer of them then wait for the backward pass. The step is the same where no view depends on
another: where the statistics used are known before the frame is seen, the loss of an image is its
own, and every view counts alike, in the loss as in the statistics that are taken up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.errors import ConfigError

NEEDED: dict[str, Any] = {
    "host": "tent",
    "calibration": "anchored",
    "gradient": "constant",
    "taylor": "none",
    "loss_over": "views",
    "statistics_over": "views",
}
"""Fields of a configuration whose views do not depend on one another."""


def allows(config: MethodConfig) -> bool:
    """Whether the views of a configuration can run one after another."""
    return all(getattr(config, name) == value for name, value in NEEDED.items())


def check(config: MethodConfig, at_a_time: int) -> None:
    """Whether so many views can run at a time; 0: all.

    Raises:
        ConfigError: no whole number from 0, or fewer than all where the result would be another.
    """
    if not isinstance(at_a_time, int) or isinstance(at_a_time, bool) or at_a_time < 0:
        raise ConfigError(f"views_at_a_time must be a whole number from 0, got {at_a_time!r}")
    if not 0 < at_a_time <= config.views:
        return
    for name, value in NEEDED.items():
        found = getattr(config, name)
        if found != value:
            raise ConfigError(
                f"views_at_a_time = {at_a_time} needs views that do not depend on one another, and "
                f"with {name} = {found!r} they do; set {name} = {value!r}, or run all views "
                "together (views_at_a_time = 0)"
            )


def parts(images: Tensor, views: int, at_a_time: int) -> list[Tensor]:
    """Images (n * V, ...) as parts (n * v, ...) of at most `at_a_time` views of each frame."""
    if not 0 < at_a_time < views:
        return [images]
    frames = images.view(-1, views, *images.shape[1:])
    return [part.flatten(0, 1) for part in torch.split(frames, at_a_time, 1)]


def together(found: Sequence[Tensor], frames: int) -> Tensor:
    """The inverse of `parts`, of n frames."""
    if len(found) == 1:
        return found[0]
    return torch.cat([part.view(frames, -1, *part.shape[1:]) for part in found], 1).flatten(0, 1)
