"""The end of a captured network: the logits in front of what turns them into probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

_RESHAPES = {
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.clone.default,
    aten.contiguous.default,
    aten.alias.default,
    aten.to.dtype,
    aten._to_copy.default,
}
# What makes probabilities of logits (N, classes), by the operators that graphs have for it.
_LINKS: dict[Any, Callable[[Tensor], Tensor]] = {
    aten.softmax.int: lambda logits: logits.softmax(1),
    aten._softmax.default: lambda logits: logits.softmax(1),
    aten.log_softmax.int: lambda logits: logits.log_softmax(1),
    aten._log_softmax.default: lambda logits: logits.log_softmax(1),
    aten.sigmoid.default: torch.sigmoid,
}
_SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Ending:
    """Way from the logits (N, classes) that a graph now returns to what the model returns.

    Attributes:
        links: applied one after the other to logits, they give the model's output.
        note: what was done to the graph, for the user; "": nothing.
    """

    classes: int
    links: tuple[Callable[[Tensor], Tensor], ...] = ()
    note: str = ""

    def outputs(self, logits: Tensor) -> Tensor:
        """Return what the model returns where its logits are these."""
        for link in self.links:
            logits = link(logits)
        return logits


def take_logits(graph: fx.Graph, expected: Tensor) -> Ending:
    """Rewrite the end of an exported graph, in place, so that it returns logits (N, classes).

    A softmax, log_softmax or sigmoid at the end is taken off. Probabilities that something else
    makes are followed by their logarithm. One output z, the logit of class 1 against class 0,
    becomes (0, z), whose softmax is (1 - sigmoid(z), sigmoid(z)).

    Args:
        expected: what the model returns for N images: (N, classes), or (N,) for one output.
    """
    links, notes = [], []
    output = next(node for node in graph.nodes if node.op == "output")
    reader, last = output, output.args[0][0]
    while last.target in _RESHAPES:
        reader, last = last, last.args[0]
    if last.target in _LINKS and _is_over_classes(last):
        name = last.target._schema.name.split("::")[1].strip("_")
        notes.append(f"the model ends in {name}, and the logits in front of that are taken")
        links.append(_LINKS[last.target])
        reader.replace_input_with(last, last.args[0])
    elif _are_probabilities(expected):
        notes.append("the model returns probabilities, and their logarithms are taken for logits")
        links.append(torch.exp)
        _append(output, aten.clamp_min.default, torch.finfo(expected.dtype).tiny)
        _append(output, aten.log.default)
    classes = expected.shape[1] if expected.ndim == 2 else 1
    if classes == 1:
        classes = 2
        notes.append("the model's one output is taken for class 1 against class 0, as two classes")
        links.insert(0, lambda logits: logits[:, 1:].reshape(-1, *expected.shape[1:]))
        _append(output, aten.reshape.default, [-1, 1])
        _append(output, aten.constant_pad_nd.default, [1, 0])
    graph.eliminate_dead_code()
    return Ending(classes, tuple(links), "; ".join(notes))


def _is_over_classes(node: fx.Node) -> bool:
    """Return True for a function of each value alone, or over the second axis."""
    if node.target is aten.sigmoid.default:
        return True
    axis: Any = node.args[1]
    rank: int = node.meta["val"].ndim
    return int(axis % rank) == 1


def _are_probabilities(outputs: Tensor) -> bool:
    if outputs.ndim != 2 or outputs.shape[1] < 2 or bool((outputs < 0).any()):
        return False
    return bool(((outputs.sum(1) - 1).abs() < _SUM_TOLERANCE).all())


def _append(output: fx.Node, target: Any, *arguments: Any) -> None:
    """Apply an operator to what the graph returns."""
    returned: Any = output.args[0]
    (value,) = returned
    with output.graph.inserting_before(output):
        node = output.graph.call_function(target, (value, *arguments))
    output.args = ((node,),)
