"""The state of an adaptation: a flat mapping of tensors, and nothing else that changes.

Per-layer values stand one after the other in one vector each; `Layout` says where. C: BatchNorm
channels of all layers together; P: trained parameters.

    offset, variance          (C,)  running statistics; offset is from the source mean
    lasting_offset, lasting_variance (C,)  the same over a longer time (anchored only)
    spread                    (2L,) running spread of single batches, L layers (anchored only)
    content.<name>                  what the stream has shown, see `content.Content` (anchored only)
    parameters                (P,)  trained parameters
    gradient                  (P,)  accumulated since the last update
    first, second             (P,)  optimizer moments
    change                    (P,)  what the last step did to the parameters (Taylor terms only)
    jacobian.<site>.<name>          running Jacobians (jacobian = "history" only)
    steps, position, updates  ()    int64: steps so far, position i of Eq. 9, windows completed
    kept, applied             ()    int64: images that counted since the last update, and optimizer
                                    steps taken (where images are left out: eata, sar, reliable)
    class_mean                (C',) running mean of predictions over C' classes (eata, delta)
    loss_mean                 ()    running loss, zero before the first (sar)
    fisher                    (P,)  Fisher diagonal of the source (fisher_weight > 0)

Several independent streams of one network have one state, each tensor with a stream axis in front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method import content, hosts
from edge_tta.method.anchored import FIRST_SPREAD
from edge_tta.method.terms import all_terms
from edge_tta.network.folding import first_of
from edge_tta.network.program import Program
from edge_tta.network.resolution import before_last_stage

State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Where each named tensor stands in a flat vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> list[int]:
        """Number of values of each."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def total(self) -> int:
        """Length of the vector."""
        return sum(self.sizes)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of the vector (..., total), by name, each (..., *shape)."""
        parts = torch.split(vector, self.sizes, -1)
        return {
            name: part if len(shape) == 1 else part.view(*part.shape[:-1], *shape)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """The vector (..., total) of values (..., *shape) by name."""
        return torch.cat(
            [
                values[name].flatten(values[name].ndim - len(shape))
                for name, shape in zip(self.names, self.shapes, strict=True)
            ],
            -1,
        )


def layer_layout(program: Program) -> Layout:
    """The BatchNorm layers' channels."""
    return Layout(
        tuple(layer.name for layer in program.layers),
        tuple((layer.channels,) for layer in program.layers),
    )


def parameter_layout(program: Program, config: MethodConfig) -> Layout:
    """The trained parameters: none, BatchNorm affine, or those and the linear maps in front.

    The host sar leaves the last stage out, a depth the first sites, `adapt_from` what comes before
    a layer.

    Raises:
        ModelError: there is no such layer.
    """
    names: dict[str, None] = {}
    if config.trains:
        sites = before_last_stage(program.sites) if config.host == "sar" else program.sites
        first = first_of(program.sites, config.adapt_from)
        for site in sites[-config.depth :]:  # all, if 0
            if site.index < first:
                continue
            wanted = [site.layer.weight, site.layer.bias]
            if config.adapt == "affine+conv" and site.linear is not None:
                wanted += [site.linear.weight, site.linear.bias]
            names.update({name: None for name in wanted if name is not None})
    return Layout(tuple(names), tuple(tuple(program.parameters[n].shape) for n in names))


def initial_state(program: Program, config: MethodConfig, streams: int | None = None) -> State:
    """The state before the first frame: source statistics and parameters.

    streams: a stream axis of so many equal states in front; None: no such axis.
    """
    state = _one_state(program, config)
    if streams is None:
        return state
    return {name: value.expand(streams, *value.shape).clone() for name, value in state.items()}


def _one_state(program: Program, config: MethodConfig) -> State:
    layers, parameters = layer_layout(program), parameter_layout(program, config)
    device = program.device
    variance = layers.join({layer.name: layer.variance for layer in program.layers})
    state: State = {
        "offset": torch.zeros_like(variance),
        "variance": variance,
        "steps": torch.zeros((), dtype=torch.int64, device=device),
    }
    if config.calibration == "anchored":
        state["lasting_offset"] = torch.zeros_like(variance)
        state["lasting_variance"] = variance.clone()
        first = variance.new_tensor(FIRST_SPREAD)
        state["spread"] = first.repeat_interleave(len(program.layers))
        shown = content.unknown(program.classes, variance)._asdict()
        state |= {f"content.{name}": value for name, value in shown.items()}
    if not config.trains:
        return state
    start = parameters.join({n: program.parameters[n] for n in parameters.names})
    state |= {
        "parameters": start.clone(),
        "gradient": torch.zeros_like(start),
        "first": torch.zeros_like(start),
        "second": torch.zeros_like(start),
        "position": torch.zeros((), dtype=torch.int64, device=device),
        "updates": torch.zeros((), dtype=torch.int64, device=device),
    }
    host = hosts.BY_NAME[config.host]
    state |= host.memory(program.classes, variance)
    if host.filters or config.reliable:
        state["kept"] = torch.zeros((), dtype=torch.int64, device=device)
        state["applied"] = torch.zeros((), dtype=torch.int64, device=device)
    if config.fisher_weight > 0:
        state["fisher"] = torch.zeros_like(start)
    if config.taylor != "none":
        state["change"] = torch.zeros_like(start)
        if config.jacobian == "history":
            for term in all_terms(program, config, set(parameters.names)):
                for key, shape in term.shapes.items():
                    state[key] = variance.new_zeros(shape)
    return state
