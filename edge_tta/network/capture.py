"""Captures any `nn.Module` as a `Program`: BatchNorm is found in the graph, not by class names.

The network is exported in evaluation mode (torch.export), so that whatever Python built it is gone
and each BatchNorm is one `aten.batch_norm` node, wherever it stands. Those nodes become calls of
the normaliser; everything else stays as it is and is frozen.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from edge_tta.errors import ModelError
from edge_tta.network.predecessors import Predecessors
from edge_tta.network.program import BatchNorm, Program, Site

BATCH_NORM = torch.ops.aten.batch_norm.default
# Free of state in evaluation mode, and the identity there.
_IDENTITIES = {
    torch.ops.aten.dropout.default,
    torch.ops.aten.feature_dropout.default,
    torch.ops.aten.alpha_dropout.default,
}


def capture(
    source: nn.Module, image_shape: tuple[int, ...], fingerprint: str | None = None
) -> Program:
    """A network as a program for images of `image_shape` (channels, H, W), any number at a time.

    The program shares the weights of `source`, which must be frozen: in evaluation mode,
    without gradients, float32 (or float64). `fingerprint` is that of
    `source`, computed here if not given.

    Raises:
        ModelError: the network has no BatchNorm, one that keeps no statistics, one inside a
            control-flow branch, cannot be exported, or does not return logits (N, classes).
    """
    tensors = [*source.parameters(), *source.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((2, *image_shape), generator=generator).to(device, dtype)
    with torch.no_grad():
        try:
            expected = source(images)
        except Exception as error:
            raise ModelError(
                f"the model cannot take images of shape {(2, *image_shape)}: {_first_line(error)}; "
                "set --size to the network's input size"
            ) from error
    if not isinstance(expected, Tensor) or expected.ndim != 2:
        raise ModelError(
            f"the model returns {_describe(expected)}; expected logits (N, classes) as one tensor: "
            "wrap it in a module that returns only those"
        )
    exported = _export(source, images)
    graph, values = _frozen_graph(exported)
    _make_functional(graph)
    sites = _find_sites(graph, values)
    predecessors = Predecessors(graph, values, {id(site.node): site.index for site in sites})
    program = _assemble(
        exported.graph_module,
        graph,
        values,
        sites,
        predecessors,
        expected.shape[1],
        fingerprint or fingerprint_of(source),
    )
    _check_parity(program, images, expected)
    return program


def fingerprint_of(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class _FoundSite:
    """A BatchNorm call while the graph is still torch.fx nodes."""

    def __init__(self, index: int, node: fx.Node, layer: BatchNorm) -> None:
        self.index, self.node, self.layer = index, node, layer


def _export(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The graph with a free batch axis."""
    batch = torch.export.Dim("batch", min=1)
    try:
        return torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    except Exception as error:
        raise ModelError(
            "the model's forward pass cannot be captured as a graph with a free batch axis: "
            f"{_first_line(error)}; remove branches that depend on the data and shapes that fix "
            "the batch size"
        ) from error


def _frozen_graph(
    exported: torch.export.ExportedProgram,
) -> tuple[fx.Graph, dict[str, tuple[str, Tensor]]]:
    """The graph, and for each lifted placeholder its fully qualified name and value."""
    signature = exported.graph_signature
    names: dict[str, str] = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    stored: dict[str, Any] = {**exported.constants, **exported.state_dict}
    values = {node: (name, stored[name].detach()) for node, name in names.items()}
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise ModelError(
            "the model changes its own buffers or its input in evaluation mode; "
            "expected a forward pass without side effects"
        )
    for node in exported.graph.nodes:
        for branch in node.all_input_nodes if isinstance(node.target, _HOP) else ():
            if branch.op == "get_attr" and _holds_batch_norm(exported.graph_module, branch):
                raise ModelError(
                    "a BatchNorm stands inside a control-flow branch (torch.cond or a loop) and "
                    "cannot be adapted; move it out of the branch"
                )
    return exported.graph, values


_HOP = torch._ops.HigherOrderOperator


def _holds_batch_norm(root: nn.Module, node: fx.Node) -> bool:
    branch = getattr(root, str(node.target), None)
    if not isinstance(branch, fx.GraphModule):
        return False
    return any(
        inner.target is BATCH_NORM
        for module in branch.modules()
        if isinstance(module, fx.GraphModule)
        for inner in module.graph.nodes
    )


def _make_functional(graph: fx.Graph) -> None:
    """Replaces in-place operations: autograd and recomputation need the old values intact.

    Later readers of the changed tensor read the new one. Views of it do not follow; the parity
    check at the end of the capture refuses a network where that matters.
    """
    for node in list(graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if node.target in _IDENTITIES and node.args[2] is False:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            continue
        name = node.target._schema.name.split("::")[1]
        if not (node.target._schema.is_mutable and name.endswith("_")):
            continue
        packet = getattr(torch.ops.aten, name[:-1], None)
        overload = getattr(packet, node.target._overloadname, None) if packet else None
        if overload is None:
            raise ModelError(
                f"the model uses {node.target}, which changes a tensor in place and has no plain "
                "form; replace it in the model's forward pass"
            )
        changed = node.args[0]
        node.target = overload
        if overload in _IDENTITIES and node.args[2] is False:
            node.replace_all_uses_with(changed)
            graph.erase_node(node)
        else:
            _read_instead(graph, changed, node)
    graph.eliminate_dead_code()


def _read_instead(graph: fx.Graph, old: fx.Node, new: fx.Node) -> None:
    later = False
    for node in graph.nodes:
        if later:
            node.replace_input_with(old, new)
        later = later or node is new


def _find_sites(graph: fx.Graph, values: dict[str, tuple[str, Tensor]]) -> list[_FoundSite]:
    layers: dict[str, BatchNorm] = {}
    sites: list[_FoundSite] = []
    for node in graph.nodes:
        if node.target is not BATCH_NORM:
            continue
        _, weight, bias, mean, variance, training, _, eps, _ = node.args
        if training or mean is None or variance is None:
            raise ModelError(
                f"BatchNorm {_owner(node)} keeps no statistics (track_running_stats=False), so "
                "there is nothing to calibrate; train it with running statistics"
            )
        if mean.name not in values or variance.name not in values:
            raise ModelError(
                f"the statistics of BatchNorm {_owner(node)} are computed in the forward pass; "
                "expected buffers of the module"
            )
        name = _layer_name(values[mean.name][0])
        if name not in layers:
            layers[name] = BatchNorm(
                name=name,
                channels=values[mean.name][1].numel(),
                eps=float(eps),
                mean_name=values[mean.name][0],
                variance_name=values[variance.name][0],
                mean=values[mean.name][1],
                variance=values[variance.name][1],
                weight=None if weight is None else values[weight.name][0],
                bias=None if bias is None else values[bias.name][0],
            )
        sites.append(_FoundSite(len(sites), node, layers[name]))
    if not sites:
        raise ModelError(
            "the model holds no BatchNorm with running statistics, so there is nothing to adapt; "
            "expected a network with BatchNorm layers that are not folded or frozen"
        )
    for site in sites:
        if not bool(torch.isfinite(site.layer.variance).all() & (site.layer.variance >= 0).all()):
            raise ModelError(
                f"BatchNorm {site.layer.name} has a running variance that is negative or not "
                "finite; expected the statistics of a trained network"
            )
    return sites


def _assemble(
    module: nn.Module,
    graph: fx.Graph,
    values: dict[str, tuple[str, Tensor]],
    found: list[_FoundSite],
    predecessors: Predecessors,
    classes: int,
    fingerprint: str,
) -> Program:
    sites = []
    trainable: dict[str, Tensor] = {}
    by_name = dict(values.values())
    for item in found:
        linear, paths = predecessors.of(item.node)
        sites.append(Site(item.index, item.layer, linear, paths))
        names: Iterable[str | None] = (item.layer.weight, item.layer.bias)
        if linear is not None:
            names = (*names, linear.weight, linear.bias)
        trainable.update({name: by_name[name] for name in names if name is not None})
    layers = {site.layer.name: site.layer for site in sites}

    def build(watch: bool) -> fx.GraphModule:
        return _open_graph(module, graph, values, found, predecessors, set(trainable), watch)

    return Program(
        sites=tuple(sites),
        layers=tuple(layers.values()),
        parameters=trainable,
        plain=build(False),
        watching=build(True),
        classes=classes,
        fingerprint=fingerprint,
    )


def _open_graph(
    module: nn.Module,
    graph: fx.Graph,
    values: dict[str, tuple[str, Tensor]],
    found: list[_FoundSite],
    predecessors: Predecessors,
    trainable: set[str],
    watch: bool,
) -> fx.GraphModule:
    """The graph as a module of (images, normaliser), BatchNorm replaced by the normaliser."""
    root = nn.Module()
    out = fx.Graph()
    copies: dict[fx.Node, Any] = {}
    site_of = {id(item.node): item for item in found}
    images = normaliser = None
    dead = _constants_of_batch_norm_only(graph)
    for node in graph.nodes:
        if node.op == "placeholder" and node.name not in values:
            images, normaliser = out.placeholder("images"), out.placeholder("normaliser")
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
                    copies[node] = out.call_method("parameter", (normaliser, name))
                else:
                    root.register_buffer(node.name, value, persistent=False)
                    copies[node] = out.get_attr(node.name)
        elif id(node) in site_of:
            a, paths = predecessors.watched(node) if watch else (None, ())
            arguments = (normaliser, site_of[id(node)].index, node.args[0], a, paths)
            copied = fx.map_arg(arguments, lambda n: copies.get(n, n))
            copies[node] = out.call_method("normalise", copied)
        elif node.op == "output":
            out.output(copies[node.args[0][0]])
        else:
            copies[node] = out.node_copy(node, lambda n: copies[n])
    return fx.GraphModule(root, out)


def _constants_of_batch_norm_only(graph: fx.Graph) -> set[fx.Node]:
    """Placeholders that only BatchNorm nodes read: the normaliser holds those."""
    return {
        node
        for node in graph.nodes
        if node.op == "placeholder"
        and node.users
        and all(user.target is BATCH_NORM and node is not user.args[0] for user in node.users)
    }


class _AsTrained:
    """Normalises with the source statistics: the network as it came."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def parameter(self, name: str) -> Tensor:
        return self._program.parameters[name]

    def normalise(self, index: int, z: Tensor, a: Any, paths: Any) -> Tensor:
        layer = self._program.sites[index].layer
        weight = None if layer.weight is None else self._program.parameters[layer.weight]
        bias = None if layer.bias is None else self._program.parameters[layer.bias]
        return nn.functional.batch_norm(
            z, layer.mean, layer.variance, weight, bias, training=False, eps=layer.eps
        )


def _check_parity(program: Program, images: Tensor, expected: Tensor) -> None:
    with torch.no_grad():
        for watch in (False, True):
            logits = program.run(images, _AsTrained(program), watch=watch)
            if logits.shape != expected.shape or not torch.allclose(
                logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())
            ):
                raise ModelError(
                    "the captured graph does not compute what the model computes; the model "
                    "probably changes views of tensors in place or draws random numbers: rewrite "
                    "those operations"
                )


def _layer_name(buffer: str) -> str:
    return buffer.removesuffix(".running_mean")


def _owner(node: fx.Node) -> str:
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    last = list(stack.values())[-1:] or [(node.name, None)]
    return str(operator.itemgetter(0)(last[0])).replace("L['self'].", "") or node.name


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
