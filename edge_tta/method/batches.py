"""Batches of frames and views: micro-batches, and the outputs of the frames alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edge_tta import nest
from edge_tta.method.state import State

Outputs = Any
"""Tensors (N, ...), nested as the network returns them (`edge_tta.nest`)."""

MICRO_BATCH = 8
"""Frames that are normalised with the same anchored statistics at most; the next have those that
these leave. Statistics are measured while the layers below are normalised as before: where many
frames change all of them at once, each layer corrects what those below have corrected already."""


def by_micro_batch(
    run: Callable[..., tuple[Outputs, State]], images: Tensor, state: State, views: int
) -> tuple[Outputs, State]:
    """Return outputs and state of steps of at most a micro-batch of frames each, all alike."""
    frames, parts = images.reshape(-1, views, *images.shape[1:]), []
    for part in frames.tensor_split(-(-len(frames) // MICRO_BATCH)):
        own, state = run(part.flatten(0, 1), state, views=views)
        parts.append(own)
    return nest.mapped(lambda *tensors: torch.cat(tensors), *parts), state


def of_frames(outputs: Outputs, views: int) -> Outputs:
    """Return outputs of the frames alone, without a graph."""
    return nest.mapped(lambda tensor: tensor.detach()[::views], outputs)
