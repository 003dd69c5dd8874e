"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_tta.network.onnx_file.nodes import Given, Host, Node, Value, axes_of, reads

_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keep).sqrt(),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keep),
}

_OF_SHAPES: dict[str, Callable[..., Any]] = {
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
}


@reads(*_REDUCTIONS, "ReduceProd")
def reduce(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Sum, mean or another along axes; without any said, along all but the batch."""
    keep = bool(node.get("keepdims", 1))
    nothing = bool(node.get("noop_with_empty_axes", 0))

    def compute(x: Value, *more: Given) -> Value:
        axes = axes_of(node, (x, *more))
        if not axes:
            if nothing:
                return x
            axes = list(range(x.ndim))
        if isinstance(x, Tensor):
            if node.operator not in _REDUCTIONS:
                raise node.error("multiplies images' values; expected a product of a shape's sides")
            return _REDUCTIONS[node.operator](x, axes, keep)
        function = _OF_SHAPES.get(node.operator)
        if function is None:
            return _REDUCTIONS[node.operator](torch.as_tensor(x), axes, keep).numpy()
        return np.asarray(function(x, axis=tuple(axes), keepdims=keep))

    return compute


@reads("ArgMax", "ArgMin")
def arg(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Place of the largest or smallest value along an axis."""
    function = torch.argmax if node.operator == "ArgMax" else torch.argmin
    axis, keep = int(node.get("axis", 0)), bool(node.get("keepdims", 1))
    return lambda x: function(x, axis, keep)
