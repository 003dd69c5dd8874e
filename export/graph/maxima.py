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
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx

from export.graph.nodes import BATCH_NORM_GRADIENTS, BATCH_NORMS, made

aten = torch.ops.aten


class _Gradients(NamedTuple):
    """Gradients of the pool, the ReLU and the BatchNorm, each read by the next alone."""

    pool: fx.Node
    relu: fx.Node
    norm: fx.Node


class _Chain(NamedTuple):
    """BatchNorm, ReLU and max pool, each read by the next alone; their gradients, if any."""

    norm: fx.Node
    relu: fx.Node
    pool: fx.Node
    gradients: _Gradients | None


def pool_first(graph: fx.Graph, constant: Callable[[Tensor], fx.Node]) -> None:
    """Moves max pools, in place. constant: a node at the place of insertion that holds a tensor."""
    varying = _varying(graph)
    for pool in graph.find_nodes(op="call_function", target=aten.max_pool2d_with_indices.default):
        chain = _chain(pool)
        if chain is not None and chain.norm.args[3] in varying:
            _move(graph, chain, constant)


def _varying(graph: fx.Graph) -> set[Any]:
    """Nodes that depend on an input of the graph."""
    varying: set[Any] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or not varying.isdisjoint(node.all_input_nodes):
            varying.add(node)
    return varying


def _chain(pool: fx.Node) -> _Chain | None:
    relu = cast(fx.Node, pool.args[0])
    y = relu.args[0] if relu.target is aten.relu.default else None
    if not isinstance(y, fx.Node) or y.target is not operator.getitem or y.args[1] != 0:
        return None
    norm = cast(fx.Node, y.args[0])
    if norm.target not in BATCH_NORMS or len(y.users) != 1:
        return None
    if list(relu.users) == [pool]:
        return _Chain(norm, relu, pool, None)
    gradients = _gradients(pool, relu, norm)
    return None if gradients is None else _Chain(norm, relu, pool, gradients)


def _gradients(pool: fx.Node, relu: fx.Node, norm: fx.Node) -> _Gradients | None:
    """Return the gradients that read the ReLU; None where anything else does, or nothing."""
    by_target = {user.target: user for user in relu.users if user is not pool}
    by_pool = by_target.get(aten.max_pool2d_with_indices_backward.default)
    by_relu = by_target.get(aten.threshold_backward.default)
    if len(relu.users) != 3 or by_pool is None or by_relu is None:
        return None
    if list(by_pool.users) != [by_relu] or len(by_relu.users) != 1:
        return None
    (by_norm,) = by_relu.users
    if by_norm.target not in BATCH_NORM_GRADIENTS or by_norm.args[1] is not norm.args[0]:
        return None
    return _Gradients(by_pool, by_relu, by_norm)


def _move(graph: fx.Graph, chain: _Chain, constant: Callable[[Tensor], fx.Node]) -> None:
    norm, relu, pool, gradients = chain
    z, weight = cast(fx.Node, norm.args[0]), cast("fx.Node | None", norm.args[1])
    whole, small = z.meta["val"], pool.meta["val"][0]
    with graph.inserting_before(norm):
        signed, sign = z, None
        if weight is not None:
            gamma = weight.meta["val"]
            ones = [constant(torch.tensor(value, dtype=gamma.dtype)) for value in (-1.0, 1.0)]
            flags = gamma.new_empty(gamma.shape, dtype=torch.bool)
            negative = made(graph, aten.lt.Scalar, (weight, 0), flags)
            vector = made(graph, aten.where.self, (negative, *ones), gamma)
            shape = [1, -1, *(1 for _ in whole.shape[2:])]
            sign = made(graph, aten.view.default, (vector, shape), gamma.view(shape))
            signed = made(graph, aten.mul.Tensor, (z, sign), whole)
        moved = made(graph, pool.target, (signed, *pool.args[1:]), pool.meta["val"])
        largest = made(graph, operator.getitem, (moved, 0), small)
        if sign is not None:
            largest = made(graph, aten.mul.Tensor, (largest, sign), small)
    norm.args = (largest, *norm.args[1:])
    norm.meta["val"] = (small, *norm.meta["val"][1:])
    for node in (relu.args[0], relu):
        cast(fx.Node, node).meta["val"] = small
    if gradients is not None:
        _move_gradient(graph, gradients, signed, moved, largest)
    for user in list(pool.users):
        if user.args[1] == 0:
            user.replace_all_uses_with(relu)


def _move_gradient(
    graph: fx.Graph, gradients: _Gradients, signed: fx.Node, moved: fx.Node, largest: fx.Node
) -> None:
    """The gradient goes through ReLU, BatchNorm and then, where it is wanted, the pool: the sign's
    factors on both sides of it make one."""
    by_pool, by_relu, by_norm = gradients
    small, whole = largest.meta["val"], signed.meta["val"]
    by_relu.args = (by_pool.args[0], *by_relu.args[1:])
    by_relu.meta["val"] = small
    by_norm.args = (by_norm.args[0], largest, *by_norm.args[2:])
    for user in list(by_norm.users):
        if user.args[1] != 0:
            continue
        user.meta["val"], readers = small, list(user.users)
        with graph.inserting_after(user):
            where = made(graph, operator.getitem, (moved, 1), moved.meta["val"][1])
        with graph.inserting_after(where):
            arguments = (user, signed, *by_pool.args[2:-1], where)
            back = made(graph, by_pool.target, arguments, whole)
        for reader in readers:
            reader.replace_input_with(user, back)
