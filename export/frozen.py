"""Parts of a network between its BatchNorms, which never change, as graphs of their own.

Part i ends at the input z_i of BatchNorm site i, the last part at the logits. A part takes the
images, outputs y_j of BatchNorms, and values that earlier parts computed (a residual's shortcut);
`parts.json` says which. Whoever runs them normalises z_i to y_i as he likes: that is all of the
network that adapts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from edge_tta.network.program import AsTrained, Execution, Program
from export.graph.convert import convert, refuse_unsupported
from export.graph.operators import OPERATORS
from export.graph.trace import Traced
from export.graph.weights import WeightFile

aten = torch.ops.aten
WEIGHTS = "weights.bin"


class _Marks(Execution):
    """Normalises nothing and leaves a copy behind as a mark."""

    def __init__(self, program: Program) -> None:
        super().__init__(program, AsTrained(program), {})
        self.order: list[int] = []

    def normalise(self, index: int, z: Tensor, *_: Any) -> Tensor:
        self.order.append(index)
        return z.clone()


def write_parts(program: Program, image_shape: tuple[int, ...], folder: Path) -> int:
    """Fills a folder; returns the number of parts.

    Raises:
        ModelError: an operator has no ONNX form here.
    """
    marks = _Marks(program)
    every: dict[Any, Any] = dict(core_aten_decompositions())
    table = {op: rule for op, rule in every.items() if op not in OPERATORS}
    images = torch.zeros((1, *image_shape), device=program.device)
    with torch.no_grad():
        module = make_fx(
            lambda x: program.outputs(program.plain(x, marks)), decomposition_table=table
        )(images)
    clones = [n for n in module.graph.nodes if n.target is aten.clone.default]
    sites = dict(zip(clones[-len(marks.order) :], marks.order, strict=True))
    traced = _split(module, sites)
    for part in traced:
        refuse_unsupported(part)
    weights, listed = WeightFile(WEIGHTS), []
    for number, part in enumerate(traced):
        name = f"part_{number:03d}.onnx"
        proto = convert(part, weights, name.removesuffix(".onnx"), "plain")
        (folder / name).write_bytes(proto.SerializeToString())
        listed.append({"file": name, "inputs": part.inputs, "outputs": part.outputs})
    weights.write(folder)
    layers = {f"z_{site.index}": site.layer.name for site in program.sites}
    index = {"source_sha256": program.fingerprint, "batch_norms": layers, "parts": listed}
    (folder / "parts.json").write_text(json.dumps(index, indent=1) + "\n")
    return len(traced)


def _split(module: fx.GraphModule, sites: dict[fx.Node, int]) -> list[Traced]:
    """Cuts the graph, in its order, behind the input of each site."""
    groups: list[list[fx.Node]] = [[]]
    output = next(node for node in module.graph.nodes if node.op == "output")
    for node in module.graph.nodes:
        if node in sites:
            groups.append([])
        elif node.op == "call_function":
            groups[-1].append(node)
    results = [node.args[0] for node in sites]
    logits = output.args[0]
    names: dict[fx.Node, str] = {node: f"y_{index}" for node, index in sites.items()}
    names |= {cast(fx.Node, node.args[0]): f"z_{index}" for node, index in sites.items()}
    names[logits] = "logits"
    names |= {node: "images" for node in module.graph.nodes if node.op == "placeholder"}
    parts = []
    for group, result in zip(groups, [*results, logits], strict=True):
        inside = set(group)
        later = [n for n in group if n is not result and any(u not in inside for u in n.users)]
        # Several outputs of one operator are unpacked where they are used.
        outputs = [n for n in (result, *later) if isinstance(n.meta["val"], Tensor)]
        parts.append(_part(module, group, outputs, names))
    return parts


def _part(
    module: fx.GraphModule,
    group: Sequence[fx.Node],
    outputs: Sequence[fx.Node],
    names: dict[fx.Node, str],
) -> Traced:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    inputs: list[str] = []
    needed = [o for node in group for o in node.all_input_nodes]
    for operand in dict.fromkeys([*needed, *outputs]):
        if operand in group:
            continue
        if operand.op == "get_attr":
            copies[operand] = graph.node_copy(operand)
            continue
        copies[operand] = graph.placeholder(operand.name)
        copies[operand].meta["val"] = operand.meta["val"]
        inputs.append(names.setdefault(operand, _shared(operand)))
    for node in group:
        copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(tuple(copies[node] for node in outputs))
    labels = tuple(names.setdefault(node, _shared(node)) for node in outputs)
    return Traced(fx.GraphModule(module, graph), tuple(inputs), labels)


def _shared(node: fx.Node) -> str:
    """The name of a value between parts, which no value within a part has."""
    return f"shared.{node.name}"
