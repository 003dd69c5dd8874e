"""A network as data: the frozen graph, its BatchNorm layers, and what stands in front of each.

A `Program` is what `capture` makes of an `nn.Module`. Running it needs a *normaliser*: the object
that decides how each BatchNorm site normalises its input. All other operations and weights are
frozen, so one program serves every method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, fx


@dataclass(frozen=True)
class BatchNorm:
    """One BatchNorm layer as trained. C channels; `mean` and `variance` are the source statistics.

    `weight` and `bias` are the parameter names, None where the layer has no affine part;
    `mean_name` and `variance_name` are the buffers' names.
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


class Normaliser(Protocol):
    """What a program asks of the method that runs it."""

    def parameter(self, name: str) -> Tensor:
        """Value of a trained parameter."""
        ...

    def normalise(
        self, index: int, z: Tensor, a: Tensor | None, paths: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Output of BatchNorm site `index` for its input z (N, C, *spatial) or (N, C).

        a: input of the site's linear map; paths: for each path (input of the earlier BatchNorm,
        its output, the path's other inputs). Both are empty unless the program was asked to
        `watch` them. A lean program (`edge_tta.network.lean`) gives further what follows the
        BatchNorm: its activation, and the settings of a max pool behind that.
        """
        ...


@dataclass(frozen=True)
class Program:
    """A frozen network with open BatchNorm sites.

    `parameters` maps each parameter that a method may train (BatchNorm affine, and weights and
    biases of linear maps in front of a BatchNorm) to its source value. `modules` holds the two
    executable forms: without and with the values that Taylor terms watch. `below` names the layer
    before which BatchNorms are folded and are no sites, "": none are. `precision` is that of
    the tensors a lean program saves, None for a program that PyTorch's autograd runs as it is.
    `note` tells the user what was done to the network's end, "": nothing.
    """

    sites: tuple[Site, ...]
    layers: tuple[BatchNorm, ...]
    parameters: Mapping[str, Tensor]
    plain: fx.GraphModule = field(repr=False)
    watching: fx.GraphModule = field(repr=False)
    classes: int
    fingerprint: str
    below: str = ""
    precision: str | None = None
    note: str = ""

    def run(self, images: Tensor, normaliser: Normaliser, *, watch: bool = False) -> Tensor:
        """Logits (N, classes) of images (N, channels, H, W)."""
        module: Any = self.watching if watch else self.plain
        logits: Tensor = module(images, normaliser)
        # Some networks squeeze the batch axis of one image away.
        return logits.reshape(-1, self.classes)

    def tensors(self) -> list[Tensor]:
        """Everything frozen: weights, source parameters and statistics."""
        statistics = [t for layer in self.layers for t in (layer.mean, layer.variance)]
        return [*self.plain.buffers(), *self.parameters.values(), *statistics]

    @property
    def device(self) -> torch.device:
        """Where the frozen weights are."""
        return self.layers[0].mean.device
