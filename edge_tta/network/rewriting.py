"""Rewriting of exported graphs: nothing in place, and BatchNorm calls open to a hook."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from edge_tta.errors import ModelError
from edge_tta.network.predecessors import Predecessors
from edge_tta.network.sites import GraphSite, Values

# Free of state in evaluation mode, and the identity there.
_IDENTITIES = {
    torch.ops.aten.dropout.default,
    torch.ops.aten.feature_dropout.default,
    torch.ops.aten.alpha_dropout.default,
}

# What torch.export puts in front of a cast: a captured network's types cannot change.
_CHECK = torch.ops.aten._assert_tensor_metadata.default
_ITEM = torch.ops.aten.item.default


def make_functional(graph: fx.Graph) -> None:
    """Replace in-place operations: autograd and recomputation need the old values intact.

    What does nothing in evaluation mode goes. Later readers of the changed tensor read the new
    one. Views of it do not follow; the parity check at the end of the capture refuses a network
    where that matters.
    """
    for node in list(graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        name = node.target._schema.name.split("::")[1]
        if node.target._schema.is_mutable and name.endswith("_"):
            packet = getattr(torch.ops.aten, name[:-1], None)
            overload = getattr(packet, node.target._overloadname, None) if packet else None
            if overload is None:
                raise ModelError(
                    f"the model uses {node.target}, which changes a tensor in place and has no "
                    "plain form; replace it in the model's forward pass"
                )
            node.target = overload
            _read_instead(graph, node.args[0], node)
        if node.target is _CHECK:
            graph.erase_node(node)
        elif node.target in _IDENTITIES and node.args[2] is False:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    graph.eliminate_dead_code()


def fold_numbers(graph: fx.Graph, values: Values) -> None:
    """Put numbers that a forward pass reads from constants (`Tensor.item`) into the graph.

    values: by placeholder, those that nothing changes, with their names.
    """
    for node in list(graph.nodes):
        if node.target is _ITEM:
            number = _constant(node.args[0], values)
            if number is not None:
                node.replace_all_uses_with(number.item())
    graph.eliminate_dead_code()


def _constant(node: fx.Node, values: Values) -> Tensor | None:
    """Return the tensor that a node always is; None: it may depend on the images."""
    if node.op == "placeholder":
        return values[node.name][1] if node.name in values else None
    if node.op != "call_function" or node.kwargs or not callable(node.target):
        return None
    known = {source: _constant(source, values) for source in node.all_input_nodes}
    if any(value is None for value in known.values()):
        return None
    args = fx.node.map_arg(node.args, lambda source: known[source])
    value = node.target(*args)
    return value if isinstance(value, Tensor) else None


def open_graph(
    module: fx.GraphModule,
    values: Values,
    sites: Sequence[GraphSite],
    predecessors: Predecessors,
    trainable: Container[str],
    watch: bool,
) -> fx.GraphModule:
    """Return the graph as a module of (images, execution), which normalises at each site."""
    root = nn.Module()
    graph, out = module.graph, fx.Graph()
    copies: dict[fx.Node, Any] = {}
    site_of = {id(site.node): site for site in sites}
    images = execution = None
    dead = _constants_of(site_of, graph)
    for node in graph.nodes:
        if node.op == "placeholder" and node.name not in values:
            images, execution = out.placeholder("images"), out.placeholder("execution")
            copies[node] = images
            break
    for node in graph.nodes:
        if node.op == "get_attr":  # branches without BatchNorm
            setattr(root, node.target, getattr(module, node.target))
            copies[node] = out.get_attr(node.target)
        elif node.op == "placeholder":
            if node.name in values and node not in dead:
                name, value = values[node.name]
                if name in trainable:
                    copies[node] = out.call_method("parameter", (execution, name))
                else:
                    root.register_buffer(node.name, value, persistent=False)
                    copies[node] = out.get_attr(node.name)
        elif id(node) in site_of:
            a, paths = predecessors.watched(node) if watch else (None, ())
            arguments = (execution, site_of[id(node)].index, node.args[0], a, paths)
            copied = fx.map_arg(arguments, lambda n: copies.get(n, n))
            copies[node] = out.call_method("normalise", copied)
        elif node.op == "output":
            returned = [copies[value] for value in node.args[0]]
            out.output(returned[0] if len(returned) == 1 else tuple(returned))
        else:
            copies[node] = out.node_copy(node, lambda n: copies[n])
    return fx.GraphModule(root, out)


def _read_instead(graph: fx.Graph, old: fx.Node, new: fx.Node) -> None:
    later = False
    for node in graph.nodes:
        if later:
            node.replace_input_with(old, new)
        later = later or node is new


def _constants_of(sites: Container[int], graph: fx.Graph) -> set[fx.Node]:
    """Return placeholders that only sites, by id of their nodes, read: the layers hold those."""
    return {
        node
        for node in graph.nodes
        if node.op == "placeholder"
        and node.users
        and all(id(user) in sites and node is not user.args[0] for user in node.users)
    }
