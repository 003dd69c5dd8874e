"""Convolutions of a folded graph that are variable, or take means, as their weights' names tell."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from edge_tta.bundle.folding import VARIABLE, places_of
from export.graph.nodes import AXIS_WEIGHTS


@dataclass(frozen=True)
class Variable:
    """A name `variable_SITE_KIND`; kind: of `edge_tta.bundle.folding.KINDS`."""

    site: int
    kind: str


def variable_of(weight: str) -> Variable | None:
    """Return what a weight's name says; None: it is no variable one."""
    if not weight.startswith(VARIABLE):
        return None
    site, _, kind = weight.removeprefix(VARIABLE).partition("_")
    return Variable(int(site), kind)


def variable_at(node: NodeProto) -> Variable | None:
    """Return the variable convolution that a node is; None: it is none."""
    return variable_of(node.input[1]) if node.op_type == "Conv" else None


def is_mean(node: NodeProto) -> bool:
    """Tell whether a node is a convolution that takes means of what is measured, along one axis."""
    return node.op_type == "Conv" and node.input[1].startswith(AXIS_WEIGHTS)


def places_in(graph: ModelProto) -> dict[int, slice]:
    """Return where the channels of each site of a graph stand among those of all."""
    channels: dict[int, int] = {}
    for tensor in graph.graph.initializer:
        variable = variable_of(tensor.name)
        if variable is not None:
            channels[variable.site] = tensor.dims[0]
    return places_of(channels)
