"""The adaptation step as a graph of PyTorch operators, its state as flat inputs and outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.bundle.folding import MEAN, MEASURED_CENTRE, SQUARE
from edge_tta.bundle.int8 import DEVIATION
from edge_tta.bundle.manifest import NEW, output_names
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ModelError
from edge_tta.method.folding import Affine, by_site, calibrated
from edge_tta.method.state import State
from edge_tta.method.step import Step
from edge_tta.network.capture import capture
from edge_tta.network.exporting import first_line
from edge_tta.network.kernels import Kernels
from edge_tta.network.program import AsTrained, Program, Site, Statistics, Watched
from edge_tta.network.rewriting import make_functional
from edge_tta.network.source import SourceNetwork
from export.graph.passes import improve, tidy

StepFunction = Callable[[Tensor, State], tuple[Any, State]]


@dataclass(frozen=True)
class Traced:
    """A graph of tensors by name.

    Attributes:
        module: its placeholders and outputs are in the order of the names.
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


def exact_step(adapter: Adapter, image_shape: tuple[int, ...]) -> Step:
    """The adapter's step in float64."""
    source, config = engine_of(adapter).network, adapter.config
    network = source.copy().double()
    program = capture(network, image_shape, below=config.folded_below, task=source.task)
    return Step(program, config)


def trace_observe(step: Step, image_shape: tuple[int, ...], known: Collection[Any]) -> Traced:
    """`step.observe` on one frame."""
    images = _example(step, 1, image_shape)
    return _traced_step(step.observe, images, step.initial_state(), known)


def trace_learn(step: Step, image_shape: tuple[int, ...], known: Collection[Any]) -> Traced:
    """`step.learn` on one frame and its views."""
    views = 1 + step.config.views.count
    images = _example(step, views, image_shape)
    learn = functools.partial(step.learn, views=views)
    return _traced_step(learn, images, step.initial_state(), known)


def trace_predict(
    step: Step, image_shape: tuple[int, ...], known: Collection[Any], state: State | None = None
) -> Traced:
    """`step.predict` on one frame; a state that is given becomes part of the graph."""
    images = _example(step, 1, image_shape)
    if state is None:
        state = step.initial_state()
        return _traced_step(lambda x, s: (step.predict(x, s), {}), images, state, known)
    return _traced_step(lambda x, _: (step.predict(x, state), {}), images, {}, known)


def trace_network(
    program: Program, image_shape: tuple[int, ...], known: Collection[Any]
) -> tuple[Traced, list[int]]:
    """The network as trained on one frame, and which site each BatchNorm in its order is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((1, *image_shape), generator=generator).to(program.device)
    hook = _InOrder(program)

    def run(given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        leaves = nest.leaves(program.run(given["images"], hook))
        return dict(zip(output_names(program.form), leaves, strict=True))

    return _traced(run, {"images": images}, known, tidy), hook.order


class _InOrder(AsTrained):
    """Notes the sites in the order in which they are asked for."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.order: list[int] = []

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        self.order.append(site.index)
        return super().statistics(site, z, watched, kernels)


class Folding:
    """From a state to `scale` and the vectors of `edge_tta.bundle.folding.KINDS`, (C,) each.

    z = v + origin + source mean: v is the linear map in front without its bias, or z itself.

        y = scale v + bias
          = scale (v + centre) + shift      v + centre is near 0 on average, and measured

    `deviation` is what v + centre deviates from 0 by, which codes of it have a scale by
    (`export.graph.int8`).

    Args:
        origin: of all sites, (C,).
    """

    def __init__(self, step: Step, origin: Tensor) -> None:
        self._step, self.origin, self._affine = step, origin, Affine(step)
        self._eps = by_site(step, self._affine.eps)

    def __call__(self, state: State) -> dict[str, Tensor]:
        """Return the vectors by name."""
        scale, offset, shift = (by_site(self._step, vector) for vector in self._affine(state))
        step = self._step
        expected, variance = (by_site(step, part) for part in step.calibration.expected(state))
        return {
            "scale": scale,
            "bias": scale * (self.origin - offset) + shift,
            "shift": scale * (expected - offset) + shift,
            "centre": self.origin - expected,
            DEVIATION: (variance.clamp_min(0) + self._eps).sqrt(),
        }


def trace_fold(step: Step, folding: Folding, known: Collection[Any]) -> Traced:
    """From a state to the vectors of `Folding`."""
    return _traced(lambda state: folding(dict(state)), step.initial_state(), known)


def trace_calibrate(
    step: Step, folding: Folding, image_shape: tuple[int, ...], known: Collection[Any]
) -> Traced:
    """From a frame's outputs and moments and the state to the new state, and `Folding` of it.

    `calibrated` as a graph. Moments are inputs `mean` and `square` of all sites: means over the
    sampled positions of what is measured, and of its square, (C,); MEASURED_CENTRE is beside them.
    """
    program, state = step.program, step.initial_state()
    names = output_names(program.form)
    example = step.predict(_example(step, 1, image_shape), state)
    given = dict(zip(names, nest.leaves(example), strict=True))
    channels = sum(site.layer.channels for site in program.sites)
    measured = {name: torch.ones(channels) for name in (MEAN, SQUARE, MEASURED_CENTRE)}

    def calibrate(values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        outputs = nest.built(program.form, [values[name] for name in names])
        mean, square = values[MEAN], values[SQUARE]
        offset = mean + folding.origin - values[MEASURED_CENTRE]
        frame = offset, (square - mean * mean).clamp_min(0)
        new = calibrated(step, outputs, frame, {name: values[name] for name in state})
        return {**{f"{NEW}{name}": value for name, value in new.items()}, **folding(new)}

    return _traced(calibrate, {**given, **measured, **state}, known)


def _example(step: Step, n: int, image_shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((n, *image_shape), generator=generator)
    return images.to(step.program.device)


def _traced_step(run: StepFunction, images: Tensor, state: State, known: Collection[Any]) -> Traced:
    """The graph of (images, *state) -> (*outputs, *new state)."""

    def function(given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        outputs, new = run(given["images"], {name: given[name] for name in state})
        answers = zip(output_names(nest.form_of(outputs)), nest.leaves(outputs), strict=True)
        return {**dict(answers), **{f"{NEW}{name}": value for name, value in new.items()}}

    return _traced(function, {"images": images, **state}, known)


def _traced(
    function: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    given: Mapping[str, Tensor],
    known: Collection[Any],
    passes: Callable[[fx.GraphModule], None] = improve,
) -> Traced:
    """The graph of a function of tensors by name; operators not `known` are decomposed if can be.

    Raises:
        ModelError: the trace fails.
    """
    names = tuple(given)
    answers: list[str] = []

    def flat(*values: Tensor) -> tuple[Tensor, ...]:
        results = function(dict(zip(names, values, strict=True)))
        answers[:] = list(results)
        return tuple(results.values())

    every: dict[Any, Any] = dict(core_aten_decompositions())
    table = {op: rule for op, rule in every.items() if op not in known}
    try:
        with torch.inference_mode(False):
            module = make_fx(flat, decomposition_table=table)(*given.values())
            make_functional(module.graph)
            passes(module)
    except Exception as error:
        raise ModelError(
            f"the adaptation step of this network cannot be traced: {first_line(error)}; run it "
            "with --backend torch"
        ) from error
    return Traced(module, names, tuple(answers))
