"""Total strides: how far a network has shrunk its image where each BatchNorm stands.

The total stride is the product of the strides on the way from the image, whatever the image's size.
Where ways meet, as in a residual block or a gate, the finest counts. Global pooling is no stride:
what follows it belongs to the stage before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from edge_tta.network.predecessors import CONVOLUTIONS
from edge_tta.network.program import Site

aten = torch.ops.aten

# Axes of each operation, and the place of its stride among the arguments.
_STRIDED = {convolution: (axes, 3) for convolution, axes in CONVOLUTIONS.items()}
_STRIDED |= {
    getattr(aten, f"{kind}_pool{axes}d").default: (axes, 2)
    for kind in ("max", "avg")
    for axes in (1, 2, 3)
}


def total_strides(graph: fx.Graph, constants: Sequence[str]) -> dict[fx.Node, int]:
    """Strides of each node that the image reaches; over all spatial axes: halving H and W makes 4.

    constants: names of the placeholders that are weights.
    """
    strides: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "placeholder" and node.name not in constants:
            strides[node] = 1
        reached = [strides[operand] for operand in node.all_input_nodes if operand in strides]
        if reached:
            strides[node] = min(reached) * _stride(node)
    return strides


def before_last_stage(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Return the sites of layers that stand nowhere at the greatest total stride.

    That stage is `layer4` of a ResNet. All sites where nothing trainable would be left.
    """
    last = max(site.stride for site in sites)
    late = {site.layer.name for site in sites if site.stride == last}
    early = tuple(site for site in sites if site.layer.name not in late)
    trainable = any(site.layer.weight or site.layer.bias for site in early)
    return early if trainable else tuple(sites)


def _stride(node: fx.Node) -> int:
    if node.target is aten.slice.Tensor:
        if len(node.args) <= 4 or node.args[1] in (0, 1):  # images and channels: no stride
            return 1
        return int(node.args[4])  # type: ignore[arg-type]
    if node.target not in _STRIDED:
        return 1
    axes, place = _STRIDED[node.target]
    arguments: list[Any] = list(node.args)
    stride = arguments[place] if len(arguments) > place else []
    if not stride and place == 2:  # a pool's stride is its kernel's size unless given
        stride = arguments[1]
    if not stride:
        return 1
    values = [stride] if isinstance(stride, int) else [int(v) for v in stride]
    return math.prod(values * axes if len(values) == 1 else values)
