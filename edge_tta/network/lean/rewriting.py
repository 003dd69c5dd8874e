"""Rewrites a program into its lean form (`edge_tta.network.lean`)."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, fx

from edge_tta.network.lean import operations, pooling
from edge_tta.network.lean.activations import activation_of
from edge_tta.network.lean.codes import Precision
from edge_tta.network.lean.fused import Fused
from edge_tta.network.program import Program, is_batch_norm

aten = torch.ops.aten

_CONVOLUTIONS = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default}
_MAX_POOL, _AVERAGE_POOL = aten.max_pool2d.default, aten.avg_pool2d.default


def lean_program(program: Program, precision: Precision, *, channels_last: bool) -> Program:
    """Return the program with its plain form made lean; fixed weights are shared.

    The form that watches Taylor terms loses its convolutions' inputs and nothing else, because
    it shows what stands between a BatchNorm and its activation.
    """
    plain, watching = _copied(program.plain), _copied(program.watching)
    fused = {}
    for node in list(plain.nodes):
        if is_batch_norm(node):
            fused[node.args[1]] = _fuse(plain, node)
    for graph in (plain, watching):
        for node in list(graph.nodes):
            if node.op == "call_function":
                _replace(node, precision)
        if channels_last:
            _lay_out(graph)
        graph.lint()
    return dataclasses.replace(
        program,
        plain=fx.GraphModule(program.plain, plain),
        watching=fx.GraphModule(program.watching, watching),
        precision=precision,
        fused=fused,
    )


def _copied(module: fx.GraphModule) -> fx.Graph:
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    return graph


def _fuse(graph: fx.Graph, node: fx.Node) -> Fused:
    """Lets a BatchNorm run the operations behind it that alone read it; returns which."""
    z: Any = node.args[2]
    # What nothing else reads may be written over.
    fused = Fused(in_place=z.target in _CONVOLUTIONS and len(z.users) == 1)
    follower = _only_user(node)
    if follower is None:
        return fused
    if follower.target is aten.add.Tensor:
        return _fuse_addition(graph, node, follower, fused)
    activation = activation_of(follower)
    if activation is None:
        return fused
    _absorb(graph, node, follower)
    pool, follower = None, _only_user(node)
    if activation.clips and follower is not None and follower.target is _MAX_POOL:
        settings: Any = follower.args[1:]
        pool = pooling.max_pool_of(*settings)
        _absorb(graph, node, follower)
    return fused._replace(activation=activation, pool=pool)


def _fuse_addition(graph: fx.Graph, node: fx.Node, addition: fx.Node, fused: Fused) -> Fused:
    """Moves a BatchNorm to the addition behind it, where an activation that clips comes next."""
    follower = _only_user(addition)
    activation = None if follower is None else activation_of(follower)
    if follower is None or activation is None or addition.kwargs:
        return fused
    if not activation.clips or activation.upper is not None:
        return fused
    others = [operand for operand in addition.args if operand is not node]
    if len(others) != 1 or not isinstance(others[0], fx.Node):
        return fused
    with graph.inserting_before(addition):
        moved = graph.call_method("normalise", (*node.args, others[0]))
    follower.replace_all_uses_with(moved)
    for gone in (follower, addition, node):
        graph.erase_node(gone)
    return fused._replace(activation=activation)


def _only_user(node: fx.Node) -> fx.Node | None:
    """Return the only node that reads this one, as its operand; None where there is none."""
    users = list(node.users)
    if len(users) != 1 or users[0].args.count(node) != 1:
        return None
    adds = users[0].target is aten.add.Tensor
    return users[0] if adds or users[0].args[0] is node else None


def _absorb(graph: fx.Graph, node: fx.Node, follower: fx.Node) -> None:
    follower.replace_all_uses_with(node)
    graph.erase_node(follower)


def _replace(node: fx.Node, precision: Precision) -> None:
    activation = activation_of(node)
    operands = [a for a in node.args if isinstance(a, fx.Node)]
    if node.target in _CONVOLUTIONS:
        node.target = operations.convolution
    elif activation is not None:
        node.target = operations.pointwise
        node.args, node.kwargs = (node.args[0], activation, precision), {}
    elif node.target is _MAX_POOL:
        node.target = pooling.max_pool2d
        settings: Any = node.args[1:]
        node.args = (node.args[0], pooling.max_pool_of(*settings))
    elif node.target is _AVERAGE_POOL:
        node.target = operations.avg_pool2d
    elif node.target is aten.mul.Tensor and len(operands) == 2:
        node.target, node.args = operations.product, (*node.args, precision)


def _lay_out(graph: fx.Graph) -> None:
    images, execution = (node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(execution):
        laid: Any = graph.call_function(_channels_last, (images,))
    images.replace_all_uses_with(laid)
    laid.args = (images,)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
