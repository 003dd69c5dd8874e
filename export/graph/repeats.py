"""Repeats cheap operators in the backward pass of a graph, so that their outputs need not be saved.

The output of a BatchNorm and the activations after it follow from the BatchNorm's input, which its
own gradient keeps anyway. In a network of BatchNorm and ReLU this halves what is saved. A pointwise
convolution that widens makes much out of little: its output, a BatchNorm's input, follows from an
input that is small.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from export.graph.nodes import BATCH_NORMS

aten = torch.ops.aten

# Element by element, or BatchNorm; the rest is saved.
_CHEAP = {*BATCH_NORMS, operator.getitem} | {
    getattr(aten, name).default
    for name in (
        *("relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "sigmoid", "silu", "hardswish"),
        *("hardsigmoid", "leaky_relu", "elu", "gelu", "tanh"),
    )
}
# Smaller tensors are not worth it, in elements.
_LARGE = 1024

# A convolution widens that makes so many elements of one.
_WIDENING = 1.5

REPEATED = "repeats another"
"""In the `meta` of a node that repeats another, which must not be made one with it."""


def repeat_cheap(module: fx.GraphModule) -> None:
    """Changes the graph in place; one without a backward pass stays as it is."""
    graph = module.graph
    order = {node: place for place, node in enumerate(graph.nodes)}
    backward = (place for node, place in order.items() if "backward" in str(node.target))
    end = next(backward, len(order)) - 1
    copies: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        if order[node] <= end or node.op != "call_function":
            continue
        for operand in node.all_input_nodes:
            worth_it = _size(operand) >= _LARGE and _is_cheap(operand)
            if worth_it and order.get(operand, end + 1) <= end:
                node.replace_input_with(operand, _copied(graph, operand, node, copies))
    graph.eliminate_dead_code()
    module.recompile()


def _is_cheap(node: fx.Node) -> bool:
    """Return whether cheap operators alone lead here from a BatchNorm or widening convolution."""
    while node.target in _CHEAP:
        if node.target in BATCH_NORMS:
            return True
        source = node.args[0]
        if not isinstance(source, fx.Node):
            return False
        node = source
    return _widens(node)


def _widens(node: fx.Node) -> bool:
    """Return whether it is a pointwise convolution with more elements at its output."""
    if node.target is not aten.convolution.default:
        return False
    source, weight = node.args[:2]
    if not isinstance(source, fx.Node) or not isinstance(weight, fx.Node):
        return False
    kernel = getattr(node.graph.owning_module, str(weight.target), None)
    pointwise = isinstance(kernel, torch.Tensor) and set(kernel.shape[2:]) == {1}
    return pointwise and _size(node) > _WIDENING * _size(source)


def _size(node: fx.Node) -> int:
    """Elements of a tensor; 0 where it is none."""
    value = node.meta.get("val")
    return value.numel() if isinstance(value, torch.Tensor) else 0


def _copied(
    graph: fx.Graph, node: fx.Node, before: fx.Node, copies: dict[fx.Node, fx.Node]
) -> fx.Node:
    """A copy of the chain up to the node, made where it is first needed."""
    if node not in copies:
        swaps: dict[Any, fx.Node] = {}
        source = node.args[0]
        if isinstance(source, fx.Node) and _is_cheap(source):
            swaps[source] = _copied(graph, source, before, copies)
        with graph.inserting_before(before):
            copies[node] = graph.node_copy(node, lambda n: swaps.get(n, n))
        copies[node].meta[REPEATED] = True
    return copies[node]
