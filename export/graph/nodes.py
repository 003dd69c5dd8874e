"""Helpers of the passes over a traced graph: BatchNorm's operators, and new nodes with a type."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

aten = torch.ops.aten


def centred_batch_norm_backward(*args: Any) -> Any:
    """`native_batch_norm_backward` of an input whose mean is near zero."""
    return aten.native_batch_norm_backward.default(*args)


def channel_means(u: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """Return means of u (1, C, *spatial) over its positions, (1, C, 1, ...).

    weights: of the rows along each axis, 1 in total; none: all count alike.
    """
    if not weights:
        return u.mean([*range(2, u.ndim)], keepdim=True)
    for axis, own in enumerate(weights, 2):
        u = torch.tensordot(u, own, dims=([axis], [0])).unsqueeze(axis)
    return u


AXIS_WEIGHTS = "axis_weights_"
"""What the names of the weights of `channel_means` begin with in a graph."""

BATCH_NORMS = (aten.native_batch_norm.default, aten._native_batch_norm_legit_no_training.default)
BATCH_NORM_GRADIENTS = (aten.native_batch_norm_backward.default, centred_batch_norm_backward)


def made(graph: fx.Graph, target: Any, args: tuple[Any, ...], value: Any) -> fx.Node:
    """A new node at the graph's place of insertion; value: an example of what it gives."""
    node = graph.call_function(target, args)
    node.meta["val"] = value
    return node
