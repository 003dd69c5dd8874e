"""Predecessors of a BatchNorm: its linear map, and the earlier BatchNorms before that.

NanoAdapt's Taylor term (Eq. 8) counts only the parameters of "the layer just before". Two layers
qualify. The convolution or linear layer whose output the BatchNorm reads; and the BatchNorm before
that one, reached through operations that keep channels separate (activations, pooling, padding,
additions), which is where the parameters that hosts train are. Anything else in between (a
concatenation, a gate, a transposed convolution) has no such term: its history is not shifted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from edge_tta.network.program import LinearMap, Path

aten = torch.ops.aten

CONVOLUTIONS = {
    getattr(getattr(aten, f"conv{axes}d"), overload): axes
    for axes in (1, 2, 3)
    for overload in ("default", "padding")
}
"""Convolutions and their number of axes."""
_LINEAR_MAPS = {**CONVOLUTIONS, aten.linear.default: 0}
# One tensor in, every output channel a function of the same input channel.
_CHANNEL_WISE = {
    getattr(aten, name).default
    for name in (
        *("relu", "relu6", "hardtanh", "clamp", "clamp_min", "leaky_relu", "elu", "selu", "celu"),
        *("gelu", "silu", "mish", "softplus", "hardswish", "hardsigmoid", "sigmoid", "tanh"),
        *("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d"),
        *("pad", "constant_pad_nd", "clone", "contiguous"),
    )
}
_ADDITIONS = {aten.add.Tensor}


class Predecessors:
    """Search for what stands in front of the BatchNorm nodes of a captured graph."""

    def __init__(
        self, graph: fx.Graph, values: dict[str, tuple[str, Tensor]], sites: dict[int, int]
    ) -> None:
        """values: placeholder -> (parameter name, value); sites: id of a node -> site index."""
        self._graph, self._values, self._sites = graph, values, sites
        self._chains: dict[fx.Node, list[tuple[fx.Node, ...]]] = {}

    def of(self, site: fx.Node) -> tuple[LinearMap | None, tuple[Path, ...]]:
        """Return the linear map in front of a BatchNorm node and the paths in front of that."""
        node = site.args[0]
        assert isinstance(node, fx.Node)
        linear = self._linear_map(node)
        if linear is None:
            return None, ()
        chains = self._chains_to(node.args[0], ())
        self._chains[site] = chains
        return linear, tuple(
            Path(self._sites[id(chain[0])], _chain_module(chain)) for chain in chains
        )

    def watched(self, site: fx.Node) -> tuple[fx.Node | None, tuple[tuple[fx.Node, ...], ...]]:
        """Return the graph values a Taylor term reads: a, and (z, y, *others) for each path."""
        if site not in self._chains:
            return None, ()
        linear: Any = site.args[0]
        paths = []
        for chain in self._chains[site]:
            z = chain[0].args[0]
            assert isinstance(z, fx.Node)
            paths.append((z, chain[0], *_others(chain)))
        return linear.args[0], tuple(paths)

    def _linear_map(self, node: fx.Node) -> LinearMap | None:
        """Return the node as a linear map with constant, named weights, or None."""
        axes = _LINEAR_MAPS.get(node.target)
        if axes is None or _rank(node) != axes + 2:
            return None
        arguments: list[Any] = list(node.args)
        weight = self._values.get(getattr(arguments[1], "name", ""))
        if weight is None:
            return None
        bias_node = arguments[2] if len(arguments) > 2 else None
        bias = None if bias_node is None else self._values.get(bias_node.name, (None,))[0]
        if bias_node is not None and bias is None:
            return None
        options = dict(enumerate(arguments[3:]))
        stride = _per_axis(options.get(0, 1), axes)
        dilation = _per_axis(options.get(2, 1), axes)
        padding = options.get(1, 0)
        if padding == "same":
            kernel = weight[1].shape[2:]
            if any(d * (k - 1) % 2 for d, k in zip(dilation, kernel, strict=True)):
                return None  # asymmetric padding
            padding = [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)]
        elif padding == "valid":
            padding = 0
        return LinearMap(
            weight=weight[0],
            bias=bias,
            stride=stride,
            padding=_per_axis(padding, axes),
            dilation=dilation,
            groups=int(options.get(3, 1)),
        )

    def _chains_to(self, node: Any, tail: tuple[fx.Node, ...]) -> list[tuple[fx.Node, ...]]:
        """Return chains (BatchNorm, ..., last node) that end in front of `tail`.

        At an addition only operands that are BatchNorm outputs themselves are followed: the ones
        farther up the residual stream are not "just before".
        """
        if not isinstance(node, fx.Node):
            return []
        if id(node) in self._sites:
            return [(node, *tail)]
        if node.target in _CHANNEL_WISE or _is_global_mean(node) or _is_flatten(node):
            return self._chains_to(node.args[0], (node, *tail))
        if node.target in _ADDITIONS and node.kwargs.get("alpha", 1) == 1:
            direct = [
                operand
                for operand in node.args
                if isinstance(operand, fx.Node)
                and id(operand) in self._sites
                and _same_shape(operand, node)
            ]
            if len(direct) == len(set(direct)):
                return [(operand, node, *tail) for operand in direct]
        return []


def _others(chain: tuple[fx.Node, ...]) -> tuple[fx.Node, ...]:
    """Return inputs of the chain's operations that are not on the chain, each once."""
    operands = [operand for node in chain[1:] for operand in node.all_input_nodes]
    return tuple(dict.fromkeys(operand for operand in operands if operand not in chain))


def _chain_module(chain: tuple[fx.Node, ...]) -> fx.GraphModule:
    """Return the chain as a module of (y, *others), y the output of its first node."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {chain[0]: graph.placeholder("y")}
    for position, node in enumerate(_others(chain)):
        copies[node] = graph.placeholder(f"other_{position}")
    for node in chain[1:]:
        copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(copies[chain[-1]])
    return fx.GraphModule(nn.Module(), graph)


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * axes
    values = tuple(int(v) for v in value)
    return values * axes if len(values) == 1 else values


def _shape(node: Any) -> tuple[Any, ...] | None:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _rank(node: fx.Node) -> int:
    shape = _shape(node)
    return -1 if shape is None else len(shape)


def _same_shape(a: fx.Node, b: fx.Node) -> bool:
    return _shape(a) is not None and str(_shape(a)) == str(_shape(b))


def _is_global_mean(node: fx.Node) -> bool:
    """Return True for a mean over all spatial axes."""
    if node.target is not aten.mean.dim:
        return False
    operand = node.args[0]
    axes = node.args[1]
    assert isinstance(operand, fx.Node)
    assert isinstance(axes, (list, tuple))
    rank = _rank(operand)
    return rank > 2 and sorted(int(a) % rank for a in axes) == list(range(2, rank))  # type: ignore[arg-type]


def _is_flatten(node: fx.Node) -> bool:
    """Return True for a reshaping (N, C, 1, ..., 1) -> (N, C), which keeps channels separate."""
    if node.target not in {aten.flatten.using_ints, aten.view.default, aten.reshape.default}:
        return False
    before, after = _shape(node.args[0]), _shape(node)
    if before is None or after is None or len(before) <= 2 or len(after) != 2:
        return False
    return all(axis == 1 for axis in before[2:]) and before[1] == after[1]
