"""The lean executor: a program rewritten so that little waits for the backward pass.

    convolutions, average pools     keep shapes
    BatchNorm and its activation    one code a value (`edge_tta.network.lean_norm`)
    addition and ReLU behind one    the same code, marked where the ReLU is off
    other ReLUs                     one bit a value
    max pools                       one byte a window; in front of them all, where nothing below
                                    trains, the maxima alone
    gates, other activations        codes of their factors, or input
    additions, concatenations       nothing, as in PyTorch

Everything else stays as it is, and so does every result but for rounding. Images are laid out
channels last, which is faster on the processors measured; convolutions keep it up.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, fx

from edge_tta.network import lean_operations as lean
from edge_tta.network.lean_activations import activation_of
from edge_tta.network.program import Program

aten = torch.ops.aten

_CONVOLUTIONS = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default}


def lean_program(program: Program, precision: str, *, channels_last: bool) -> Program:
    """The program with its plain form made lean; frozen weights are shared.

    The form that watches Taylor terms loses its convolutions' inputs and nothing else, because
    it shows what stands between a BatchNorm and its activation.
    """
    return dataclasses.replace(
        program,
        plain=_rewritten(program.plain, precision, channels_last, fuse=True),
        watching=_rewritten(program.watching, precision, channels_last, fuse=False),
        precision=precision,
    )


def _rewritten(
    module: fx.GraphModule, precision: str, channels_last: bool, *, fuse: bool
) -> fx.GraphModule:
    graph = fx.Graph()
    output = graph.graph_copy(module.graph, {})
    graph.output(output)
    for node in list(graph.nodes):
        if fuse and node.op == "call_method" and node.target == "normalise":
            _fuse(graph, node)
    for node in list(graph.nodes):
        if node.op == "call_function":
            _replace(graph, node, precision)
        elif fuse and node.op == "call_method" and node.target == "normalise":
            _let_own(node)
    if channels_last:
        _lay_out(graph)
    graph.lint()
    return fx.GraphModule(module, graph)


def _fuse(graph: fx.Graph, node: fx.Node) -> None:
    """Gives a BatchNorm the activation, and the pool, that alone read it."""
    follower = _only_user(node)
    if follower is not None and follower.target is aten.add.Tensor:
        _fuse_addition(graph, node, follower)
        return
    activation = None if follower is None else activation_of(follower)
    if follower is None or activation is None:
        return
    node.args = (*node.args[:5], activation)
    _absorb(graph, node, follower)
    follower = _only_user(node)
    if activation.cuts and follower is not None and follower.target is aten.max_pool2d.default:
        settings: Any = follower.args[1:]
        pool = lean.pool_settings(*settings)
        node.args = (*node.args[:5], activation, pool)
        _absorb(graph, node, follower)


def _fuse_addition(graph: fx.Graph, node: fx.Node, addition: fx.Node) -> None:
    """Moves a BatchNorm to the addition behind it, where an activation that cuts comes next."""
    follower = _only_user(addition)
    activation = None if follower is None else activation_of(follower)
    if follower is None or activation is None or addition.kwargs:
        return
    if not activation.cuts or activation.upper is not None:
        return
    others = [operand for operand in addition.args if operand is not node]
    if len(others) != 1 or not isinstance(others[0], fx.Node):
        return
    with graph.inserting_before(addition):
        arguments = (*node.args[:5], activation, None, others[0])
        fused = graph.call_method("normalise", arguments)
    follower.replace_all_uses_with(fused)
    for gone in (follower, addition, node):
        graph.erase_node(gone)


def _let_own(node: fx.Node) -> None:
    """Lets a BatchNorm write over the output of a convolution that nothing else reads."""
    read: Any = node.args[2]
    if read.target in (lean.convolution, *_CONVOLUTIONS) and len(read.users) == 1:
        following = [*node.args[5:], *[None] * 3][:3]
        node.args = (*node.args[:5], *following, True)


def _only_user(node: fx.Node) -> fx.Node | None:
    """What alone reads a node, as its operand."""
    users = list(node.users)
    if len(users) != 1 or users[0].args.count(node) != 1:
        return None
    adds = users[0].target is aten.add.Tensor
    return users[0] if adds or users[0].args[0] is node else None


def _absorb(graph: fx.Graph, node: fx.Node, follower: fx.Node) -> None:
    follower.replace_all_uses_with(node)
    graph.erase_node(follower)


def _replace(graph: fx.Graph, node: fx.Node, precision: str) -> None:
    activation = activation_of(node)
    operands = [a for a in node.args if isinstance(a, fx.Node)]
    if node.target in _CONVOLUTIONS:
        node.target = lean.convolution
    elif activation is not None:
        node.target, node.args, node.kwargs = (
            lean.pointwise,
            (node.args[0], activation, precision),
            {},
        )
    elif node.target is aten.max_pool2d.default:
        node.target = lean.max_pool2d
    elif node.target is aten.avg_pool2d.default:
        node.target = lean.avg_pool2d
    elif node.target is aten.mul.Tensor and len(operands) == 2:
        node.target, node.args = lean.product, (*node.args, precision)


def _lay_out(graph: fx.Graph) -> None:
    images = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(
        next(n for n in graph.nodes if n.op == "placeholder" and n is not images)
    ):
        laid: Any = graph.call_function(_channels_last, (images,))
    images.replace_all_uses_with(laid)
    laid.args = (images,)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
