"""Folding of the BatchNorms below a layer: what stands before it stays as it came, and costs less.

A BatchNorm with constant statistics is a scale and a shift of each channel, which the convolution
or linear layer in front of it absorbs. One that has none in front (a sum, a concatenation or a
pool, or a convolution that others read too) stays, with its constants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edge_tta.errors import ModelError, did_you_mean
from edge_tta.network.predecessors import CONVOLUTIONS
from edge_tta.network.program import BatchNorm, Site
from edge_tta.network.sites import GraphSite, Values

aten = torch.ops.aten

_ABSORBING = {*CONVOLUTIONS, aten.linear.default}


def first_of(sites: Sequence[GraphSite | Site], layer: str) -> int:
    """Return the index of the first site of a layer by name; "": of the first of all.

    Raises:
        ModelError: no layer has that name.
    """
    if not layer:
        return 0
    for site in sites:
        if site.layer.name == layer:
            return site.index
    names = list(dict.fromkeys(site.layer.name for site in sites))
    hint = did_you_mean(layer, names) or f"; its layers are named as {', '.join(names[-3:])}"
    raise ModelError(f"the network has no BatchNorm named {layer!r}{hint}")


def fold_below(
    graph: fx.Graph, values: Values, sites: Sequence[GraphSite], layer: str
) -> list[GraphSite]:
    """Fold, in place, the layers of which every site comes before the first of `layer`.

    values: takes the folded weights. Returns the other sites, numbered anew.

    Raises:
        ModelError: no layer has the name.
    """
    first = first_of(sites, layer)
    adapting = {site.layer.name for site in sites if site.index >= first}
    for site in sites:
        if site.layer.name not in adapting:
            _fold(graph, values, site)
    graph.eliminate_dead_code()
    rest = [site for site in sites if site.layer.name in adapting]
    return [dataclasses.replace(site, index=index) for index, site in enumerate(rest)]


def _fold(graph: fx.Graph, values: Values, site: GraphSite) -> None:
    linear = site.node.args[0]
    if not isinstance(linear, fx.Node) or linear.target not in _ABSORBING or len(linear.users) > 1:
        return
    # A linear layer's channels are its last axis, which is BatchNorm's second of two alone.
    if linear.target is aten.linear.default and linear.meta["val"].ndim != 2:
        return
    given = [*linear.args[1:3], None][:2]
    constants = [values.get(node.name) for node in given if isinstance(node, fx.Node)]
    if None in constants:  # computed in the forward pass
        return
    parts = [part for part in constants if part is not None]
    weight, bias = parts[0], parts[1] if len(parts) > 1 else None
    affine = [values[n.name][1] if isinstance(n, fx.Node) else None for n in site.node.args[1:3]]
    folded = _folded(weight[1], None if bias is None else bias[1], site.layer, affine)
    nodes = []
    for kind, value in zip(("weight", "bias"), folded, strict=True):
        with graph.inserting_before(next(iter(graph.nodes))):
            node = graph.placeholder(f"folded_{site.index}_{kind}")
        values[node.name] = f"{weight[0]} folded with {site.layer.name}: {kind}", value
        nodes.append(node)
    linear.args = (linear.args[0], *nodes, *linear.args[3:])
    site.node.replace_all_uses_with(linear)
    graph.erase_node(site.node)


def _folded(
    weight: Tensor, bias: Tensor | None, layer: BatchNorm, affine: Sequence[Tensor | None]
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the linear map with the BatchNorm in it."""
    given = (weight, bias, layer.mean, layer.variance, *affine)
    doubled: list[Any] = [None if t is None else t.double() for t in given]
    w, b, mean, variance, scale, shift = doubled
    fused = fuse_conv_bn_weights(w, b, mean, variance, layer.eps, scale, shift)
    one, other = (part.detach().to(weight.dtype) for part in fused)
    return one, other
