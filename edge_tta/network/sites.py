"""BatchNorm calls of exported graphs, whatever Python stood around them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from edge_tta.errors import ModelError
from edge_tta.network.program import BatchNorm

BATCH_NORM = torch.ops.aten.batch_norm.default

# Placeholder -> (qualified name, value) of a parameter or buffer.
Values = dict[str, tuple[str, Tensor]]

_REGIONS = {
    "cond": "a control-flow branch (torch.cond)",
    "while_loop": "a control-flow branch (a while loop)",
    "wrap_with_autocast": "a torch.autocast block",
    "wrap_with_set_grad_enabled": "a block that switches gradients",
}


@dataclass(frozen=True)
class GraphSite:
    """A BatchNorm call while the graph is still torch.fx nodes."""

    index: int
    node: fx.Node
    layer: BatchNorm


def refuse_regions(exported: torch.export.ExportedProgram) -> None:
    """Refuse a BatchNorm inside a part that the graph calls as a whole.

    Raises:
        ModelError: there is one.
    """
    for node in exported.graph.nodes:
        if not isinstance(node.target, torch._ops.HigherOrderOperator):
            continue
        for branch in node.all_input_nodes:
            if branch.op == "get_attr" and _holds_batch_norm(exported.graph_module, branch):
                raise ModelError(
                    f"a BatchNorm stands inside {_REGIONS.get(str(node.target), node.target)} and "
                    "cannot be adapted; move it out of there"
                )


def find_sites(graph: fx.Graph, values: Values) -> list[GraphSite]:
    """Return all BatchNorm calls in the graph's order.

    Raises:
        ModelError: one that keeps no statistics, or damaged ones.
    """
    layers: dict[str, BatchNorm] = {}
    sites: list[GraphSite] = []
    for node in graph.nodes:
        if node.target is not BATCH_NORM:
            continue
        _, weight, bias, mean, variance, training, _, eps, _ = node.args
        if training and mean is not None:
            raise ModelError(
                f"BatchNorm {_owner(node)} normalises by its batch in evaluation mode; remove "
                ".train() or training=True from the forward pass"
            )
        if mean is None or variance is None:
            raise ModelError(
                f"BatchNorm {_owner(node)} keeps no statistics (track_running_stats=False), so "
                "there is nothing to calibrate; train it with running statistics"
            )
        if any(v is not None and v.name not in values for v in (weight, bias, mean, variance)):
            raise ModelError(
                f"statistics or parameters of BatchNorm {_owner(node)} are plain tensors or "
                "computed in the forward pass; expected parameters and buffers of the module"
            )
        mean_name, mean_value = values[mean.name]
        layer = BatchNorm(
            name=mean_name.removesuffix(".running_mean"),
            channels=mean_value.numel(),
            eps=float(eps),
            mean_name=mean_name,
            variance_name=values[variance.name][0],
            mean=mean_value,
            variance=values[variance.name][1],
            weight=None if weight is None else values[weight.name][0],
            bias=None if bias is None else values[bias.name][0],
        )
        known = layers.setdefault(layer.name, layer)
        if _parts(known) != _parts(layer):
            raise ModelError(
                f"BatchNorm {_owner(node)} shares its running mean with another BatchNorm and not "
                "everything else; give each its own statistics, or call one twice"
            )
        sites.append(GraphSite(len(sites), node, known))
    for site in sites:
        mean, variance = site.layer.mean, site.layer.variance
        if not bool(torch.isfinite(mean + variance).all() & (variance >= 0).all()):
            raise ModelError(
                f"BatchNorm {site.layer.name} has a running mean or variance that is not finite, "
                "or a negative variance; expected the statistics of a trained network"
            )
    return sites


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


def _parts(layer: BatchNorm) -> tuple[Any, ...]:
    return layer.mean_name, layer.variance_name, layer.weight, layer.bias, layer.eps


def _owner(node: fx.Node) -> str:
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    last = list(stack.values())[-1:] or [(node.name, None)]
    return str(operator.itemgetter(0)(last[0])).replace("L['self'].", "") or node.name
