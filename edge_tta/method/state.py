"""The state of an adaptation: a flat mapping of tensors, and nothing else that changes.

Each part of the method packs its own tensors, under keys that begin with its name:

    steps      ()   int64, steps so far (`edge_tta.method.step`)
    calib.*         statistics, and what anchored calibration knows of the stream
                    (`edge_tta.method.calibration`)
    opt.*           trained parameters, accumulated gradient, moments, counters
                    (`edge_tta.method.optimizer`)
    host.*          what the host remembers (`edge_tta.method.hosts`)
    taylor.*        the last change of the parameters, and running Jacobians
                    (`edge_tta.method.taylor.shift`)

Values of layers or parameters stand one after the other in one vector; `Layout` says where.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from edge_tta.network.program import BatchNorm, Program, Site

State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Places of named tensors in a flat vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> list[int]:
        """Number of values of each."""
        return [math.prod(shape) for shape in self.shapes]

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Return views of the vector (total,), by name, each of its shape."""
        parts = torch.split(vector, self.sizes, -1)
        return {
            name: part if len(shape) == 1 else part.view(shape)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the vector (total,) of values by name."""
        return torch.cat([values[name].flatten() for name in self.names])


def layer_layout(layers: Sequence[BatchNorm]) -> Layout:
    """Return the layout of the BatchNorm layers' channels."""
    return Layout(
        tuple(layer.name for layer in layers), tuple((layer.channels,) for layer in layers)
    )


def parameter_names(site: Site, train: str) -> list[str]:
    """Return the names of a site's parameters that may train; train: as of `parameter_layout`."""
    wanted = [site.layer.weight, site.layer.bias]
    if train == "affine+conv" and site.linear is not None:
        wanted += [site.linear.weight, site.linear.bias]
    return [name for name in wanted if name is not None]


def parameter_layout(program: Program, sites: Sequence[Site], train: str) -> Layout:
    """Return the layout of the trained parameters of some sites.

    train: `affine`, BatchNorm's own, or `affine+conv`, those and the linear map's in front.
    """
    names = dict.fromkeys(name for site in sites for name in parameter_names(site, train))
    return Layout(tuple(names), tuple(tuple(program.parameters[n].shape) for n in names))


def finite_or_old(new: State, old: State) -> State:
    """Return the new tensors; the old ones if any value of them is not finite."""
    finite = torch.ones_like(old["steps"], dtype=torch.bool)
    for value in new.values():
        finite = finite & torch.isfinite(value).all()
    return {name: torch.where(finite, value, old[name]) for name, value in new.items()}
