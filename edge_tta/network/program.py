"""A network as data: the fixed graph, its BatchNorm layers, and what stands in front of each.

A `Program` is what `capture` makes of an `nn.Module`. Running it needs a `BatchNormHook`: the
object that decides with which statistics each BatchNorm site normalises its input. All other
operations and weights are fixed, so one program serves every method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, fx

from edge_tta import nest
from edge_tta.network.kernels import Kernels, Normalisation
from edge_tta.network.lean.codes import Precision
from edge_tta.network.lean.fused import Fused
from edge_tta.network.lean.kernels import LeanKernels
from edge_tta.tasks import Task


@dataclass(frozen=True)
class BatchNorm:
    """One BatchNorm layer as trained. C channels; `mean` and `variance` are the source statistics.

    `weight` and `bias` are the parameter names, None where the layer has no affine part;
    `mean_name` and `variance_name` are the buffers' names. The affine part of a normalisation that
    keeps no statistics (`edge_tta.network.affine`) has 0 channels of them.
    """

    name: str
    channels: int
    eps: float
    mean: Tensor
    variance: Tensor
    mean_name: str
    variance_name: str
    weight: str | None
    bias: str | None


@dataclass(frozen=True)
class LinearMap:
    """The convolution or linear layer whose output a BatchNorm site reads: z = W * a + b.

    `weight` and `bias` are parameter names. A linear layer is a convolution over no spatial axes
    and has empty `stride`, `padding` and `dilation`.
    """

    weight: str
    bias: str | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class Path:
    """The channel-wise way from an earlier BatchNorm's output y to the linear map's input a.

    `module(y, *others)` computes a; every channel of a depends on the same channel of y alone.
    `source` is the index of the earlier site.
    """

    source: int
    module: fx.GraphModule


@dataclass(frozen=True)
class Site:
    """One call of a BatchNorm layer. A layer that is used twice has two sites.

    `linear` is the layer just before it (None: something else feeds it, such as a sum or a
    concatenation), `paths` the earlier BatchNorms in front of that layer. `stride` is the total
    stride from the image to here (`edge_tta.network.resolution`).
    """

    index: int
    layer: BatchNorm
    linear: LinearMap | None = None
    paths: tuple[Path, ...] = ()
    stride: int = 1


class PathValues(NamedTuple):
    """Values on a `Path`: input z and output y of the earlier BatchNorm, other inputs."""

    z: Tensor
    y: Tensor
    others: tuple[Tensor, ...]


class Watched(NamedTuple):
    """Values in front of a site, which Taylor terms read: input a of its linear map, its paths."""

    a: Tensor
    paths: tuple[PathValues, ...]


class Statistics(NamedTuple):
    """Statistics that a BatchNorm normalises with, (C,) each."""

    mean: Tensor
    variance: Tensor


class BatchNormHook(Protocol):
    """Interface between a program and the method that runs it."""

    def parameter(self, name: str) -> Tensor:
        """Return the value of a trained parameter."""
        ...

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        """Return what a site normalises its input z, (N, C, *spatial) or (N, C), with.

        watched: None unless the program was asked to watch and the site has a linear map.
        kernels: measures z, where the method needs its moments.
        """
        ...


class AsTrained:
    """`BatchNormHook` of the network as trained.

    values: parameters that are others than the source's, by name.
    """

    def __init__(self, program: Program, values: Mapping[str, Tensor] | None = None) -> None:
        self._parameters = {**program.parameters, **(values or {})}

    def parameter(self, name: str) -> Tensor:
        """Return a parameter's value."""
        return self._parameters[name]

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        """Return the source statistics."""
        return Statistics(site.layer.mean, site.layer.variance)


@dataclass(frozen=True)
class Program:
    """A source network with open BatchNorm sites.

    `parameters` maps each parameter that a method may train (BatchNorm affine, and weights and
    biases of linear maps in front of a BatchNorm) to its source value. `modules` holds the two
    executable forms: without and with the values that Taylor terms watch. `below` names the layer
    before which BatchNorms are folded and are no sites, "": none are. `precision` is that of
    the tensors a lean program saves, None for a program that PyTorch's autograd runs as it is;
    `fused` is what its plain form runs together with a site, by index. `note` tells the user what
    was done to the network's end, "": nothing. `task` says what the outputs mean, `form` how they
    are nested (`edge_tta.nest`), and `shapes` are those of one image's. `classes` is the K of the
    task's votes; 1: there are none.
    """

    sites: tuple[Site, ...]
    layers: tuple[BatchNorm, ...]
    parameters: Mapping[str, Tensor]
    plain: fx.GraphModule = field(repr=False)
    watching: fx.GraphModule = field(repr=False)
    classes: int
    fingerprint: str
    below: str = ""
    precision: Precision | None = None
    fused: Mapping[int, Fused] = field(default_factory=dict, repr=False)
    note: str = ""
    task: Task = field(kw_only=True)
    form: nest.Form = None
    shapes: tuple[tuple[int, ...], ...] = field(kw_only=True)

    def run(self, images: Tensor, hook: BatchNormHook, *, watch: bool = False) -> Any:
        """Return outputs of images (N, channels, H, W): logits (N, classes) of a classifier."""
        if watch:
            return self.outputs(self.watching(images, Execution(self, hook, {})))
        return self.outputs(self.plain(images, Execution(self, hook, self.fused)))

    def outputs(self, values: Tensor | tuple[Tensor, ...]) -> Any:
        """Return what a graph returns as the network's outputs."""
        # Some networks squeeze the batch axis of one image away.
        flat = zip(nest.leaves(values), self.shapes, strict=True)
        return nest.built(self.form, [value.reshape(-1, *shape) for value, shape in flat])

    def votes(self, outputs: Any) -> Tensor:
        """Return the task's class votes (N * P, K) of outputs; one of a single class, if none."""
        votes: Tensor | None = self.task.votes(outputs)
        if votes is None:
            first = nest.leaves(outputs)[0]
            votes = first.new_zeros((len(first), 1))
        return votes

    def tensors(self) -> list[Tensor]:
        """Return all fixed tensors: weights, source parameters and statistics."""
        statistics = [t for layer in self.layers for t in (layer.mean, layer.variance)]
        return [*self.plain.buffers(), *self.parameters.values(), *statistics]

    @property
    def calibrates(self) -> bool:
        """Return True where there are statistics to calibrate."""
        return any(layer.channels for layer in self.layers)

    @property
    def device(self) -> torch.device:
        """Return the device of the fixed weights."""
        return self.layers[0].mean.device


class Execution:
    """One run of a program, as its graph sees it: parameters, and the BatchNorms at their sites."""

    def __init__(self, program: Program, hook: BatchNormHook, fused: Mapping[int, Fused]) -> None:
        precision = program.precision
        self._sites, self._hook, self._fused = program.sites, hook, fused
        self._kernels = Kernels() if precision is None else LeanKernels(precision)

    def parameter(self, name: str) -> Tensor:
        """Return the value of a trained parameter."""
        return self._hook.parameter(name)

    def normalise(
        self,
        index: int,
        z: Tensor,
        a: Tensor | None,
        paths: Sequence[Sequence[Tensor]],
        residual: Tensor | None = None,
    ) -> Tensor:
        """Return the output of a site, and what is fused with it.

        a, paths: as in `Watched`, which a graph cannot hold; None and empty unless watched.
        """
        site = self._sites[index]
        watched = None
        if a is not None:
            watched = Watched(
                a, tuple(PathValues(earlier, y, tuple(more)) for earlier, y, *more in paths)
            )
        mean, variance = self._hook.statistics(site, z, watched, self._kernels)
        weight, bias = (
            None if name is None else self._hook.parameter(name)
            for name in (site.layer.weight, site.layer.bias)
        )
        norm = Normalisation(mean, variance, weight, bias, site.layer.eps)
        return self._kernels.normalise(z, norm, self._fused.get(index), residual)


def is_batch_norm(node: fx.Node) -> bool:
    """Return whether a node of a program's graph is a site: normalise(execution, index, z, ...)."""
    return node.op == "call_method" and node.target == "normalise"
