"""Affine parameters behind normalisations without statistics, in exported graphs.

Normalisation by groups, layers or instances takes its statistics from each image, so that there is
nothing to calibrate. Its scale and shift can train. They are arguments of the operation, or, as
ONNX exporters write it, a product and a sum behind it:

    y = normalise(x) * scale + shift
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edge_tta.network.program import BatchNorm
from edge_tta.network.sites import GraphSite, Values

aten = torch.ops.aten

# Place of the scale among the arguments; the shift is the next.
_NORMALISATIONS = {
    aten.layer_norm.default: 2,
    aten.group_norm.default: 2,
    aten.instance_norm.default: 1,
}
_SHAPES = {
    *(aten.view.default, aten.reshape.default, aten.permute.default, aten.transpose.int),
    *(aten.contiguous.default, aten.clone.default, aten.unflatten.int, aten.flatten.using_ints),
}


def find_affine(graph: fx.Graph, values: Values) -> list[GraphSite]:
    """Return the affine parts in the graph's order, as sites that keep no statistics.

    values: of parameters and buffers of the module.
    """
    sites: list[GraphSite] = []
    names: set[str] = set()
    for node in graph.nodes:
        scale, shift = _parts_of(node, values)
        if scale is None:
            continue
        weight, value = values[scale.name]
        if weight in names:
            continue
        names.add(weight)
        empty = value.new_empty(0)
        layer = BatchNorm(
            name=weight.removesuffix(".weight"),
            channels=0,
            eps=0.0,
            mean=empty,
            variance=empty,
            mean_name="",
            variance_name="",
            weight=weight,
            bias=None if shift is None else values[shift.name][0],
        )
        sites.append(GraphSite(len(sites), node, layer))
    return sites


def _parts_of(node: fx.Node, values: Values) -> tuple[fx.Node | None, fx.Node | None]:
    """Return scale and shift of a normalisation; None: it has none, or is none."""
    target: Any = node.target
    place = _NORMALISATIONS.get(target)
    if place is not None:
        scale, shift = (_owned(node.args, place + i, values) for i in (0, 1))
        if scale is not None and not _is_one(scale, values):
            return scale, shift
        return _behind(node, values)
    if _divides_by_deviation(node):
        return _behind(node, values)
    return None, None


def _behind(node: fx.Node, values: Values) -> tuple[fx.Node | None, fx.Node | None]:
    """Return the constants of a product, and of a sum, that alone read a value."""
    product = _only_user(node)
    if product is None or product.target is not aten.mul.Tensor:
        return None, None
    scale = _other(product, values)
    total = _only_user(product)
    if scale is None or total is None or total.target is not aten.add.Tensor:
        return scale, None
    return scale, _other(total, values)


def _only_user(node: fx.Node) -> fx.Node | None:
    """Return the only operation that reads a value, past changes of its shape."""
    users = list(node.users)
    while len(users) == 1 and users[0].target in _SHAPES:
        users = list(users[0].users)
    return users[0] if len(users) == 1 else None


def _other(node: fx.Node, values: Values) -> fx.Node | None:
    owned = [_owned(node.args, place, values) for place in (0, 1)]
    return next((operand for operand in owned if operand is not None), None)


def _owned(arguments: tuple[Any, ...], place: int, values: Values) -> fx.Node | None:
    operand = arguments[place] if len(arguments) > place else None
    return operand if isinstance(operand, fx.Node) and operand.name in values else None


def _is_one(node: fx.Node, values: Values) -> bool:
    value = values[node.name][1]
    return bool((value == 1).all()) and node.op == "placeholder" and "constant" in node.name


def _divides_by_deviation(node: fx.Node) -> bool:
    """Return True of x / sqrt(variance), a normalisation that is written out."""
    below: Any = node.args[1] if node.target is aten.div.Tensor else None
    return isinstance(below, fx.Node) and below.target in (
        aten.sqrt.default,
        aten.pow.Tensor_Scalar,
    )
