"""Activation checkpointing: a program in segments, recomputed when their gradient is due.

In the forward pass a segment saves its input and nothing else. In the backward pass it is computed
again, with the statistics that it had been normalised with, and its gradient is taken. The last
segment is not: its gradient is due at once. The gradient is that of the whole program where the
statistics are its constants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from edge_tta.errors import ConfigError
from edge_tta.network import cutting
from edge_tta.network.kernels import Kernels
from edge_tta.network.program import (
    AsTrained,
    BatchNormHook,
    Execution,
    Program,
    Site,
    Statistics,
    Watched,
    is_batch_norm,
)

AUTO = "auto"


def check(segments: int | str, *, gradient: str, taylor: str) -> None:
    """Checks a number of segments, and that a method with these options can recompute them.

    Args:
        segments: at most so many, from 2; `auto`: as many as leave least saved; 0: none.

    Raises:
        ConfigError: another number, or statistics that are no constants of the gradient.
    """
    whole = isinstance(segments, int) and not isinstance(segments, bool)
    if segments != AUTO and not (whole and (segments == 0 or int(segments) >= 2)):
        raise ConfigError(
            f"checkpointing must be '{AUTO}', or a number of segments from 2, or 0, "
            f"got {segments!r}"
        )
    options = (("gradient", gradient, "constant"), ("taylor", taylor, "none"))
    for name, value, needed in options if segments else ():
        if value != needed:
            raise ConfigError(
                f"checkpointing = {segments!r} recomputes segments of the network with "
                f"the statistics that they had, and with {name} = {value!r} those are not all; set "
                f"{name} = {needed!r}, or checkpointing = 0"
            )


class Segment(NamedTuple):
    """module: (tensor, *numbers, execution) -> (tensor, *numbers). names: parameters it reads."""

    module: fx.GraphModule
    names: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointedProgram(Program):
    """A program whose plain form runs in segments where gradients are asked for."""

    segments: tuple[Segment, ...] = ()

    def run(self, images: Tensor, hook: BatchNormHook, *, watch: bool = False) -> Any:
        """Return outputs of images (N, channels, H, W)."""
        if watch or not torch.is_grad_enabled():
            return super().run(images, hook, watch=watch)
        recorder = _Recorder(hook)
        values: tuple[Any, ...] = (images,)
        for segment in self.segments[:-1]:
            x, *numbers = values
            given = {name: hook.parameter(name) for name in segment.names}
            given = {name: value for name, value in given.items() if value.requires_grad}
            if given or x.requires_grad:
                trained = segment._replace(names=tuple(given))
                values = _Checkpoint.apply(self, trained, recorder, numbers, x, *given.values())
            else:
                values = segment.module(*values, Execution(self, recorder, self.fused))
        last = self.segments[-1].module(*values, Execution(self, recorder, self.fused))
        return self.outputs(last)


def checkpointed(
    program: Program, image_shape: tuple[int, ...], trained: Iterable[str], segments: int | str
) -> CheckpointedProgram:
    """Return the program in the segments that leave least saved; one where any cut leaves more.

    Runs it once, without keeping anything, to see what each operation would save.

    Args:
        image_shape: (channels, H, W).
        trained: names of the parameters whose gradient is asked for.
        segments: as checked, not 0.
    """
    most = None if segments == AUTO else int(segments)
    values = {name: program.parameters[name].detach().requires_grad_() for name in trained}
    like = program.layers[0].mean
    images = torch.zeros((1, *image_shape), dtype=like.dtype, device=like.device)
    sizes = cutting.measured(program, images, AsTrained(program, values))
    graph = program.plain.graph
    return cut_at(program, cutting.best(graph, sizes, cutting.cuts(program, sizes), most))


def cut_at(program: Program, places: list[cutting.Cut]) -> CheckpointedProgram:
    """Return the program in segments that begin at some places, the first of them its beginning."""
    ends = [*places[1:], None]
    segments = tuple(_segment(program, a, b) for a, b in zip(places, ends, strict=True))
    fields = {f.name: getattr(program, f.name) for f in dataclasses.fields(Program)}
    return CheckpointedProgram(**fields, segments=segments)


class _Recorder:
    """Hook that passes everything on and keeps the statistics that each site is normalised with."""

    def __init__(self, hook: BatchNormHook) -> None:
        self._hook = hook
        self._used: dict[int, Statistics] = {}

    def parameter(self, name: str) -> Tensor:
        return self._hook.parameter(name)

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        used = self._hook.statistics(site, z, watched, kernels)
        self._used[site.index] = Statistics(used.mean.detach(), used.variance.detach())
        return used

    def replaying(self, values: Mapping[str, Tensor]) -> BatchNormHook:
        """Return a hook that gives what this one gave, with these parameters, and measures none."""
        return _Replay(self._hook, values, self._used)


class _Replay:
    def __init__(
        self, hook: BatchNormHook, values: Mapping[str, Tensor], used: Mapping[int, Statistics]
    ) -> None:
        self._hook, self._values, self._used = hook, values, used

    def parameter(self, name: str) -> Tensor:
        value = self._values.get(name)
        return self._hook.parameter(name) if value is None else value

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        return self._used[site.index]


class _Checkpoint(Function):
    @staticmethod
    def forward(
        ctx: Any,
        program: Program,
        segment: Segment,
        recorder: _Recorder,
        numbers: list[Any],
        x: Tensor,
        *values: Tensor,
    ) -> tuple[Any, ...]:
        ctx.program, ctx.segment, ctx.recorder, ctx.numbers = program, segment, recorder, numbers
        kind = x.device.type
        ctx.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.save_for_backward(x, *values)
        execution = Execution(program, recorder, program.fused)
        return segment.module(x.detach(), *numbers, execution)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[4:]
        kind, dtype, enabled = ctx.autocast
        with torch.enable_grad(), torch.autocast(kind, dtype, enabled):
            x, *values = given = [
                value.detach().requires_grad_(need)
                for value, need in zip(ctx.saved_tensors, needed, strict=True)
            ]
            hook = ctx.recorder.replaying(dict(zip(ctx.segment.names, values, strict=True)))
            execution = Execution(ctx.program, hook, ctx.program.fused)
            out = ctx.segment.module(x, *ctx.numbers, execution)[0]
        wanted = [value for value in given if value.requires_grad]
        gradients = iter(torch.autograd.grad(out, wanted, g, allow_unused=True))
        return (*[None] * 4, *(next(gradients) if need else None for need in needed))


def _segment(program: Program, begin: cutting.Cut, end: cutting.Cut | None) -> Segment:
    """Return the segment from the values at `begin` to those at `end` (None: the logits)."""
    graph, nodes = program.plain.graph, cutting.computing(program.plain.graph)
    own = nodes[begin.position : None if end is None else end.position]
    out = fx.Graph()
    copies = {n: out.placeholder(n.name) for n in (begin.tensor, *begin.numbers)}
    execution = next(n for n in graph.nodes if n.op == "placeholder" and cutting.is_source(n))
    copies[execution] = out.placeholder("execution")
    names: dict[str, None] = {}
    for node in own:
        for source in node.all_input_nodes:
            if source not in copies:
                copies[source] = out.node_copy(source, copies.__getitem__)
                if source.op == "call_method":
                    names[str(source.args[1])] = None
        if is_batch_norm(node):
            index: Any = node.args[1]
            layer = program.sites[index].layer
            names |= {name: None for name in (layer.weight, layer.bias) if name is not None}
        copies[node] = out.node_copy(node, copies.__getitem__)
    if end is None:
        results = next(n for n in graph.nodes if n.op == "output").all_input_nodes
        out.output(tuple(copies[result] for result in results))
    else:
        out.output(tuple(copies[n] for n in (end.tensor, *end.numbers)))
    out.lint()
    return Segment(fx.GraphModule(program.plain, out), tuple(names))
