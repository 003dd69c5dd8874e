"""BatchNorm of maxima in place of maxima of BatchNorm.

A max pool behind a BatchNorm and a ReLU takes its maxima where z itself is largest, or smallest for
a channel with a negative weight. With s the sign of the weight, 1 for zero,

    maxima(relu(BN(z))) = relu(BN(s maxima(s z))),

so BatchNorm, ReLU and their gradients work on what is left, a quarter of z for a stride of two;
and where nothing in front trains, nobody asks where the maxima stood, which onnxruntime takes
twenty times as long to tell.

Where a weight is exactly zero, all of a window is the largest: here the gradient by that weight is
of the largest z, in PyTorch of the first. Both are gradients of it. A BatchNorm of constants stays
where it is: it disappears into the convolution in front of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx

aten = torch.ops.aten

_FORWARD = (aten.native_batch_norm.default, aten._native_batch_norm_legit_no_training.default)


@dataclass(frozen=True)
class _Chain:
    """BatchNorm, ReLU and max pool, each read by the next alone, and their gradients, if any."""

    norm: fx.Node
    relu: fx.Node
    pool: fx.Node
    by_pool: fx.Node | None
    by_relu: fx.Node | None
    by_norm: fx.Node | None


def pool_first(
    graph: fx.Graph, backward: tuple[Any, ...], constant: Callable[[Tensor], fx.Node]
) -> None:
    """Moves max pools, in place.

    Args:
        backward: operators that are gradients of BatchNorm.
        constant: a node at the place of insertion that holds a tensor.
    """
    varying = _varying(graph)
    for pool in graph.find_nodes(op="call_function", target=aten.max_pool2d_with_indices.default):
        chain = _chain(pool, backward)
        if chain is not None and chain.norm.args[3] in varying:
            _move(graph, chain, constant)


def _varying(graph: fx.Graph) -> set[Any]:
    """Nodes that depend on an input of the graph."""
    found: set[Any] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _chain(pool: fx.Node, backward: tuple[Any, ...]) -> _Chain | None:
    relu = cast(fx.Node, pool.args[0])
    y = relu.args[0] if relu.target is aten.relu.default else None
    if not isinstance(y, fx.Node) or y.target is not operator.getitem or y.args[1] != 0:
        return None
    norm = cast(fx.Node, y.args[0])
    if norm.target not in _FORWARD or len(y.users) != 1:
        return None
    others = [user for user in relu.users if user is not pool]
    if not others:
        return _Chain(norm, relu, pool, None, None, None)
    by_pool = _one(others, aten.max_pool2d_with_indices_backward.default)
    by_relu = _one(others, aten.threshold_backward.default)
    if len(others) != 2 or by_pool is None or by_relu is None or list(by_pool.users) != [by_relu]:
        return None
    (by_norm,) = by_relu.users if len(by_relu.users) == 1 else (None,)
    if by_norm is None or by_norm.target not in backward or by_norm.args[1] is not norm.args[0]:
        return None
    return _Chain(norm, relu, pool, by_pool, by_relu, by_norm)


def _one(nodes: list[fx.Node], target: Any) -> fx.Node | None:
    found = [node for node in nodes if node.target is target]
    return found[0] if len(found) == 1 else None


def _move(graph: fx.Graph, chain: _Chain, constant: Callable[[Tensor], fx.Node]) -> None:
    norm, relu, pool = chain.norm, chain.relu, chain.pool
    z, weight = cast(fx.Node, norm.args[0]), cast("fx.Node | None", norm.args[1])
    whole, small = z.meta["val"], pool.meta["val"][0]
    with graph.inserting_before(norm):
        signed, sign = z, None
        if weight is not None:
            gamma = weight.meta["val"]
            ones = [constant(torch.tensor(value, dtype=gamma.dtype)) for value in (-1.0, 1.0)]
            flags = gamma.new_empty(gamma.shape, dtype=torch.bool)
            negative = _made(graph, aten.lt.Scalar, (weight, 0), flags)
            vector = _made(graph, aten.where.self, (negative, *ones), gamma)
            shape = [1, -1, *(1 for _ in whole.shape[2:])]
            sign = _made(graph, aten.view.default, (vector, shape), gamma.view(shape))
            signed = _made(graph, aten.mul.Tensor, (z, sign), whole)
        moved = _made(graph, pool.target, (signed, *pool.args[1:]), pool.meta["val"])
        largest = _made(graph, operator.getitem, (moved, 0), small)
        if sign is not None:
            largest = _made(graph, aten.mul.Tensor, (largest, sign), small)
    norm.args = (largest, *norm.args[1:])
    norm.meta["val"] = (small, *norm.meta["val"][1:])
    for node in (relu.args[0], relu):
        cast(fx.Node, node).meta["val"] = small
    if chain.by_pool is not None and chain.by_relu is not None and chain.by_norm is not None:
        _move_gradient(graph, chain, signed, moved, largest)
    for user in list(pool.users):
        if user.args[1] == 0:
            user.replace_all_uses_with(relu)


def _move_gradient(
    graph: fx.Graph, chain: _Chain, signed: fx.Node, moved: fx.Node, largest: fx.Node
) -> None:
    """The gradient goes through ReLU, BatchNorm and then, where it is wanted, the pool: the sign's
    factors on both sides of it make one."""
    by_pool, by_relu, by_norm = (
        cast(fx.Node, node) for node in (chain.by_pool, chain.by_relu, chain.by_norm)
    )
    small, whole = largest.meta["val"], signed.meta["val"]
    by_relu.args = (by_pool.args[0], *by_relu.args[1:])
    by_relu.meta["val"] = small
    by_norm.args = (by_norm.args[0], largest, *by_norm.args[2:])
    for user in list(by_norm.users):
        if user.args[1] != 0:
            continue
        user.meta["val"], readers = small, list(user.users)
        with graph.inserting_after(user):
            where = _made(graph, operator.getitem, (moved, 1), moved.meta["val"][1])
        with graph.inserting_after(where):
            arguments = (user, signed, *by_pool.args[2:-1], where)
            back = _made(graph, by_pool.target, arguments, whole)
        for reader in readers:
            reader.replace_input_with(user, back)


def _made(graph: fx.Graph, target: Any, args: tuple[Any, ...], value: Any) -> fx.Node:
    node = graph.call_function(target, args)
    node.meta["val"] = value
    return node
