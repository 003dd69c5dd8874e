"""A program in parts, each of which is run again when its gradient is due.

In the forward pass a part keeps its input and nothing else. In the backward pass it is run again,
as the executor runs it, with the statistics that it had been normalised with, and its gradient is
taken. The last part is not run again: its gradient is due at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, fx
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.network.cutting import Cut, computing, is_source
from edge_tta.network.program import Normaliser, Program


class Repeatable(Normaliser, Protocol):
    """A normaliser whose run can be repeated in parts."""

    def again(self, values: Mapping[str, Tensor]) -> Normaliser:
        """Normalises as it did in this run, with these parameters, and collects nothing."""
        ...


class Part(NamedTuple):
    """module: (tensor, *numbers, normaliser) -> (tensor, *numbers). names: parameters it reads."""

    module: fx.GraphModule
    names: tuple[str, ...]


class Parts:
    """A program cut at some places, the first of which is its beginning."""

    def __init__(self, program: Program, places: Sequence[Cut]) -> None:
        self._classes = program.classes
        ends = [*places[1:], None]
        self._parts = [_part(program, a, b) for a, b in zip(places, ends, strict=True)]

    def __len__(self) -> int:
        return len(self._parts)

    def run(self, images: Tensor, normaliser: Repeatable, values: Mapping[str, Tensor]) -> Tensor:
        """As `Program.run`; values: the trained parameters, by name."""
        x: Tensor = images
        numbers: Sequence[Any] = ()
        for part in self._parts[:-1]:
            given = {name: values[name] for name in part.names if name in values}
            learns = x.requires_grad or any(value.requires_grad for value in given.values())
            if learns and torch.is_grad_enabled():
                x, *numbers = _Part.apply(
                    part.module, normaliser, tuple(given), tuple(numbers), x, *given.values()
                )
            else:
                x, *numbers = part.module(x, *numbers, normaliser)
        logits: Tensor = self._parts[-1].module(x, *numbers, normaliser)[0]
        return logits.reshape(-1, self._classes)


class _Part(Function):
    @staticmethod
    def forward(
        ctx: Any,
        module: fx.GraphModule,
        normaliser: Repeatable,
        names: tuple[str, ...],
        numbers: tuple[Any, ...],
        x: Tensor,
        *values: Tensor,
    ) -> tuple[Any, ...]:
        ctx.module, ctx.normaliser, ctx.names, ctx.numbers = module, normaliser, names, numbers
        kind = x.device.type
        ctx.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.save_for_backward(x, *values)
        found: tuple[Any, ...] = module(x.detach(), *numbers, normaliser)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[4:]
        kind, dtype, enabled = ctx.autocast
        with torch.enable_grad(), torch.autocast(kind, dtype, enabled):
            given = [
                value.detach().requires_grad_(need)
                for value, need in zip(ctx.saved_tensors, needed, strict=True)
            ]
            values = dict(zip(ctx.names, given[1:], strict=True))
            out = ctx.module(given[0], *ctx.numbers, ctx.normaliser.again(values))[0]
        wanted = [value for value in given if value.requires_grad]
        found = iter(torch.autograd.grad(out, wanted, g, allow_unused=True))
        return (*[None] * 4, *(next(found) if need else None for need in needed))


def _part(program: Program, begin: Cut, end: Cut | None) -> Part:
    """What computes the values at `end` (None: the logits) from those at `begin`."""
    graph, nodes = program.plain.graph, computing(program.plain.graph)
    own = nodes[begin.position : None if end is None else end.position]
    out = fx.Graph()
    copies = {n: out.placeholder(n.name) for n in (begin.tensor, *begin.numbers)}
    normaliser = next(n for n in graph.nodes if n.op == "placeholder" and is_source(n))
    copies[normaliser] = out.placeholder("normaliser")
    names: dict[str, None] = {}
    for node in own:
        for source in node.all_input_nodes:
            if source not in copies:
                copies[source] = out.node_copy(source, copies.__getitem__)
                if source.op == "call_method":
                    names[str(source.args[1])] = None
        if node.op == "call_method" and node.target == "normalise":
            index: Any = node.args[1]
            layer = program.sites[index].layer
            names |= {name: None for name in (layer.weight, layer.bias) if name is not None}
        copies[node] = out.node_copy(node, copies.__getitem__)
    if end is None:
        (result,) = next(n for n in graph.nodes if n.op == "output").all_input_nodes
        out.output((copies[result],))
    else:
        out.output(tuple(copies[n] for n in (end.tensor, *end.numbers)))
    out.lint()
    return Part(fx.GraphModule(program.plain, out), tuple(names))
