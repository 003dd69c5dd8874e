"""Passes over a traced graph that keep its values and save passes over memory.

The step takes the statistics of z in front of a BatchNorm as m = mean(z), v = mean((z - m)^2), and
normalises z. Each reading and writing of z costs, so z gives way to a z' = z - s that is there
anyway or comes for free, and BatchNorm and its gradient take z' and their mean less s:

- a pointwise convolution z = W a, no wider at its input than twice its output: m = W mean(a) is
  known before z is, and the convolution's own bias takes it off: z' = z - m, exactly centred;
- anything else: z' = z - m, as the step computes it.

Max pools then go in front of the BatchNorm and ReLU before them (`export.graph.maxima`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx

from export.graph.maxima import pool_first
from export.graph.nodes import BATCH_NORMS, centred_batch_norm_backward, made

aten = torch.ops.aten

_PLACES = {
    # Target: places of the input and of the mean among the arguments.
    **dict.fromkeys(BATCH_NORMS, (0, 3)),
    aten.native_batch_norm_backward.default: (1, 3),
}

_COUNTING = {aten.arange.default, aten.arange.start, aten.arange.start_step}
_VIEWS = {aten.view.default, aten.slice.Tensor, aten.expand.default}


def is_finite_everywhere(x: Tensor) -> Tensor:
    """Return whether all values are finite, () bool: the step's checks, as one operator."""
    return torch.isfinite(x).all()


def tidy(module: fx.GraphModule) -> None:
    """The first passes alone, in place."""
    _drop_aliases(module.graph)
    _fold_created(module.graph, Constants(module))
    module.graph.eliminate_dead_code()
    module.recompile()


def improve(module: fx.GraphModule) -> None:
    """All passes, in place."""
    graph = module.graph
    _drop_aliases(graph)
    constants = Constants(module)
    _fold_created(graph, constants)
    for node in list(graph.nodes):
        if node.target is aten.mean.dim:
            statistics = _statistics(node)
            if statistics is not None:
                _centre(graph, statistics, constants)
        elif node.target in (aten.all.dims, aten.all.dim, aten.all.default):
            _check_at_once(graph, node)
    pool_first(graph, lambda value: constants.add(graph, value))
    graph.eliminate_dead_code()
    module.recompile()


def _drop_aliases(graph: fx.Graph) -> None:
    """Takes out what returns its input: aliases, and views and slices of everything."""
    for node in list(graph.nodes):
        plain: Any = node.target in (aten.alias.default, aten.detach.default)
        if node.target in _VIEWS:
            source = cast(fx.Node, node.args[0])
            shapes = [item.meta["val"].shape for item in (source, node) if "val" in item.meta]
            whole = len(shapes) == 2 and tuple(shapes[0]) == tuple(shapes[1])
            plain = whole and not (node.target is aten.slice.Tensor and len(node.args) > 4)
        if plain:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _fold_created(graph: fx.Graph, constants: Constants) -> None:
    """Put in as constants what is computed from counting alone, as the anchors of detectors are."""
    known: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        sources = node.all_input_nodes
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        counted = node.target in _COUNTING or (sources and all(s in known for s in sources))
        if counted and not random:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs) if callable(node.target) else None
    for node, value in known.items():
        if isinstance(value, Tensor) and not all(user in known for user in node.users):
            with graph.inserting_before(node):
                node.replace_all_uses_with(constants.add(graph, value.contiguous()))


class Constants:
    """Tensors that do not depend on the inputs, of nodes that hold or compute them."""

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._values: dict[fx.Node, Tensor | None] = {}

    def of(self, node: Any) -> Tensor | None:
        """The value of a node; None: it depends on the inputs."""
        if not isinstance(node, fx.Node):
            return None
        if node not in self._values:
            self._values[node] = self._value(node)
        return self._values[node]

    def add(self, graph: fx.Graph, value: Tensor, name: str | None = None) -> fx.Node:
        """A node that holds a new constant, of a name of its own."""
        name = name or f"_added_{len(self._values)}"
        self._module.register_buffer(name, value, persistent=False)
        node = graph.get_attr(name)
        self._values[node] = value
        return node

    def _value(self, node: fx.Node) -> Tensor | None:
        if node.op == "get_attr":
            return cast(Tensor, getattr(self._module, str(node.target)))
        unary = (aten._to_copy.default, aten.view.default)
        if node.target in unary and not node.kwargs and isinstance(node.args[0], fx.Node):
            source = self.of(node.args[0])
            target = cast(Callable[..., Tensor], node.target)
            return None if source is None else target(source, *node.args[1:])
        return None


@dataclass(frozen=True)
class _Statistics:
    """The nodes of `kernels.batch_moments` on z, without weights, and what else reads z: BatchNorm,
    its gradient."""

    z: fx.Node
    mean: fx.Node
    column: fx.Node
    centred: fx.Node
    square: fx.Node
    variance: fx.Node
    norms: tuple[fx.Node, ...]


def _centre(graph: fx.Graph, statistics: _Statistics, constants: Constants) -> None:
    """One of the two ways of the module's head."""
    z = statistics.z
    weight = constants.of(z.args[1]) if z.target is aten.convolution.default else None
    bias = constants.of(z.args[2]) if weight is not None else None
    if weight is None or (bias is None and z.args[2] is not None) or z.args[6]:
        _take(graph, statistics, statistics.centred, statistics.mean)
        return
    pointwise: Any = set(weight.shape[2:]) == {1} and not any(cast(Any, z.args[4]))
    pointwise = pointwise and z.args[8] == 1 and set(cast(Any, z.args[3])) == {1}
    if pointwise and weight.shape[1] <= 2 * weight.shape[0]:
        _by_input(graph, statistics, weight, bias, constants)
    else:
        _take(graph, statistics, statistics.centred, statistics.mean)


def _by_input(
    graph: fx.Graph,
    statistics: _Statistics,
    weight: Tensor,
    bias: Tensor | None,
    constants: Constants,
) -> None:
    """Pointwise: centred by its own bias."""
    z, mean = statistics.z, statistics.mean
    a = cast(fx.Node, z.args[0])
    of_output = mean.meta["val"]
    channels, inputs = weight.shape[:2]
    vector = of_output.new_empty(inputs)
    with graph.inserting_before(z):
        of_input = made(graph, aten.mean.dim, (a, mean.args[1]), vector)
        column = made(graph, aten.view.default, (of_input, [-1, 1]), vector.view(-1, 1))
        matrix = constants.add(graph, weight.flatten(1))
        product = made(graph, aten.mm.default, (matrix, column), of_output.new_empty((channels, 1)))
        flat = made(graph, aten.view.default, (product, [-1]), of_output)
        less = made(graph, aten.neg.default, (flat,), of_output)
        whole = flat
        if bias is not None:
            held = constants.add(graph, bias)
            whole = made(graph, aten.add.Tensor, (flat, held), of_output)
    z.args = (*z.args[:2], less, *z.args[3:])
    mean.replace_all_uses_with(whole)
    statistics.centred.replace_all_uses_with(z)
    _take(graph, statistics, z, whole)
    for node in (statistics.centred, statistics.column, mean):
        graph.erase_node(node)


def _take(graph: fx.Graph, statistics: _Statistics, z: fx.Node, s: fx.Node) -> None:
    """BatchNorm and its gradient read z (z' of the module's head) and their mean less s."""
    for norm in statistics.norms:
        where, place = _PLACES[cast(Any, norm.target)]
        arguments = list(norm.args)
        with graph.inserting_before(norm):
            mean = cast(fx.Node, arguments[place])
            arguments[place] = made(graph, aten.sub.Tensor, (mean, s), mean.meta["val"])
        arguments[where] = z
        norm.args = tuple(arguments)
        if norm.target is aten.native_batch_norm_backward.default:
            norm.target = centred_batch_norm_backward


def _statistics(mean: fx.Node) -> _Statistics | None:
    """Return the moments that begin with `mean`; None where it is not the mean of a BatchNorm's
    input, or something else reads that."""
    z = mean.args[0]
    if not isinstance(z, fx.Node):
        return None
    for centred in z.users:
        if centred.target is not aten.sub.Tensor or centred.args[0] is not z:
            continue
        column = centred.args[1]
        if not isinstance(column, fx.Node) or column.target is not aten.view.default:
            continue
        squares = [n for n in centred.users if n.args[:2] == (centred, centred)]
        if column.args[0] is not mean or len(squares) != 1 or len(centred.users) != 1:
            continue
        averages = [n for n in squares[0].users if n.target is aten.mean.dim]
        norms = tuple(n for n in z.users if n not in (mean, centred))
        alone = len(averages) == len(squares[0].users) == len(column.users) == 1
        if alone and all(n.target in _PLACES and _reads_once(n, z) for n in norms):
            return _Statistics(z, mean, column, centred, squares[0], averages[0], norms)
    return None


def _reads_once(norm: fx.Node, z: fx.Node) -> bool:
    place, _ = _PLACES[cast(Any, norm.target)]
    return norm.args[place] is z and sum(item is z for item in norm.args) == 1


def _check_at_once(graph: fx.Graph, every: fx.Node) -> None:
    """all((x == x) * (|x| != inf)) over all axes as one operator."""
    match every.args[0]:
        case fx.Node(
            target=aten.mul.Tensor,
            args=(
                fx.Node(target=aten.eq.Tensor, args=(x, same)),
                fx.Node(
                    target=aten.ne.Scalar,
                    args=(fx.Node(target=aten.abs.default, args=(sized,)), math.inf),
                ),
            ),
        ) if x is same is sized and not len(every.meta["val"].shape):
            with graph.inserting_before(every):
                check = made(graph, is_finite_everywhere, (x,), every.meta["val"])
            every.replace_all_uses_with(check)
            graph.erase_node(every)
