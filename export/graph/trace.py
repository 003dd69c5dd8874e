"""The adaptation step as a graph of PyTorch operators, its state as flat inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.engines.onnx import NEW, output_names
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ModelError
from edge_tta.method.state import State
from edge_tta.method.step import Step
from edge_tta.network.exporting import first_line
from edge_tta.network.rewriting import make_functional
from edge_tta.network.source import SourceNetwork
from export.graph.passes import improve

StepFunction = Callable[[Tensor, State], tuple[Any, State]]


@dataclass(frozen=True)
class Traced:
    """A graph of (images, *state) -> (*outputs, *new state).

    Attributes:
        module: its placeholders are in that order, and so are its outputs.
        inputs, outputs: names; those of the state are its keys, with `NEW` before them at the
            output.
    """

    module: fx.GraphModule
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def plain_step(adapter: Adapter, image_shape: tuple[int, ...], *, traced: bool = False) -> Step:
    """The adapter's step without kernels of its own, which a trace could not look into, and
    without weights that lie channels last, which it would show as strides.
    """
    source, config = engine_of(adapter).network, adapter.config
    network = SourceNetwork(source.copy(), source.device, source.task)
    program = network.program(image_shape, "stock", config.folded_below)
    return Step(program, config, traced=traced)


def trace_observe(step: Step, image_shape: tuple[int, ...], known: Collection[Any]) -> Traced:
    """`step.observe` on one frame."""
    images = _example(step, 1, image_shape)
    return _traced(lambda x, s: step.observe(x, s), images, step.initial_state(), known)


def trace_learn(step: Step, image_shape: tuple[int, ...], known: Collection[Any]) -> Traced:
    """`step.learn` on one frame and its views."""
    views = 1 + step.config.views.count
    images = _example(step, views, image_shape)
    return _traced(lambda x, s: step.learn(x, s, views=views), images, step.initial_state(), known)


def trace_predict(
    step: Step, image_shape: tuple[int, ...], known: Collection[Any], state: State | None = None
) -> Traced:
    """`step.predict` on one frame; a state that is given becomes part of the graph."""
    images = _example(step, 1, image_shape)
    if state is None:
        return _traced(lambda x, s: (step.predict(x, s), {}), images, step.initial_state(), known)
    return _traced(lambda x, _: (step.predict(x, state), {}), images, {}, known)


def _example(step: Step, n: int, image_shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((n, *image_shape), generator=generator)
    return images.to(step.program.device)


def _traced(function: StepFunction, images: Tensor, state: State, known: Collection[Any]) -> Traced:
    """The graph; operators that are not `known` are decomposed where PyTorch can.

    Raises:
        ModelError: the trace fails.
    """
    names = tuple(state)
    changed: list[str] = []
    answers: list[str] = []

    def flat(images: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        outputs, new = function(images, dict(zip(names, values, strict=True)))
        changed[:] = list(new)
        answers[:] = output_names(nest.form_of(outputs))
        return (*nest.leaves(outputs), *new.values())

    every: dict[Any, Any] = dict(core_aten_decompositions())
    table = {op: rule for op, rule in every.items() if op not in known}
    try:
        with torch.inference_mode(False):
            module = make_fx(flat, decomposition_table=table)(images, *state.values())
            make_functional(module.graph)
            improve(module)
    except Exception as error:
        raise ModelError(
            f"the adaptation step of this network cannot be traced: {first_line(error)}; run it "
            "with --backend torch"
        ) from error
    outputs = (*answers, *(f"{NEW}{name}" for name in changed))
    return Traced(module, ("images", *names), outputs)
