"""BatchNorm put back where a deployed network has it folded away.

A folded convolution's output z gets a BatchNorm whose source statistics are z's own mean and
variance over unlabelled source frames, with gamma = sqrt(variance + eps) and beta = mean, so that
the function is unchanged. Of a folded conv-BatchNorm pair these are the gamma and beta that it was
trained with, as far as the frames are like those of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edge_tta.errors import ModelError
from edge_tta.network.onnx_file.network import OnnxNetwork
from edge_tta.network.onnx_file.nodes import Node, Value
from edge_tta.network.onnx_file.operators.activations import ACTIVATIONS
from edge_tta.network.onnx_file.operators.normalisation import batch_norm_layer

EPS = 1e-5
"""Epsilon of the restored BatchNorms, PyTorch's usual one."""
TOLERANCE = 1e-4
"""Largest allowed difference of outputs before and after, relative to the largest output."""
FEWEST = 8
"""Source frames below which a variance says nothing."""
USUAL = 500
"""Source frames that are enough."""

_LINEAR = {"Conv", "ConvTranspose", "Gemm"}
_THROUGH = {"QuantizeLinear", "DequantizeLinear", "Identity", "Dropout"}
_BEHIND = ACTIVATIONS | {
    *("Add", "Sub", "Sum", "Concat", "Conv", "ConvTranspose", "Resize", "Split"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"),
}


@dataclass(frozen=True)
class Restored:
    """What was restored: how many layers, from how many frames, and how far outputs moved.

    uncertainty: mean over the layers of a channel mean's standard error between frames, in the
        channel's own standard deviations.
    """

    layers: int
    frames: int
    difference: float
    uncertainty: float


def sites_of(network: OnnxNetwork) -> list[Node]:
    """Return linear maps behind which a BatchNorm belongs: what reads them is no output alone."""
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)

    def kinds(name: str) -> set[str]:
        found = set()
        for node in readers.get(name, ()):
            found |= kinds(node.outputs[0]) if node.operator in _THROUGH else {node.operator}
        return found

    return [
        node
        for node in network.nodes
        if node.operator in _LINEAR
        and node.outputs[0] in network.layer_names
        and kinds(node.outputs[0]) & _BEHIND
        and node.outputs[0] not in network.output_names
        and "BatchNormalization" not in kinds(node.outputs[0])
    ]


def check_statistics(network: OnnxNetwork, name: str, give: str) -> str:
    """Return what to tell of a network of which some BatchNorms may be folded; "": nothing.

    Args:
        name: of the network. give: how source frames are given.

    Raises:
        ModelError: all are folded.
    """
    sites, kept = sites_of(network), _count(network, {"BatchNormalization"})
    if not sites or (not kept and _normalises(network)):
        return ""
    if kept:
        return (
            f"{name}: {kept} BatchNorms are in the file, and {len(sites)} more convolutions or "
            "Gemms have none and stay as they are; if theirs are folded into them, unlabelled "
            f"frames of good conditions give these back: {give}"
        )
    raise ModelError(
        f"{name}: its BatchNorms are folded into its convolutions, so that there are no statistics "
        "to calibrate; give unlabelled frames of good conditions, some hundred: " + give
    )


def _normalises(network: OnnxNetwork) -> bool:
    """Return True where a network normalises otherwise: in one node, or by x / sqrt(variance)."""
    roots = {node.outputs[0] for node in network.nodes if node.operator == "Sqrt"}
    divides = any(n.operator == "Div" and n.inputs[1] in roots for n in network.nodes)
    others = {"LayerNormalization", "GroupNormalization", "InstanceNormalization"}
    return divides or bool(_count(network, others))


def _count(network: OnnxNetwork, operators: set[str]) -> int:
    return sum(node.operator in operators for node in network.nodes)


def has_batch_norm(network: OnnxNetwork) -> bool:
    """Return True where a network has a BatchNorm."""
    return _count(network, {"BatchNormalization"}) > 0


def restore(
    network: OnnxNetwork,
    images: Iterable[Tensor],
    tell: Callable[[int], None] = lambda count: None,
) -> Restored:
    """Give a network its BatchNorms back, in place; the function stays.

    Args:
        images: of the source domain, unlabelled, each (1, channels, H, W), normalised.
        tell: is told of each image.

    Raises:
        ModelError: too few images, nothing to restore, or the function changed beyond `TOLERANCE`.
    """
    sites = sites_of(network)
    if not sites:
        raise ModelError(
            "the network has no convolution or Gemm in front of an activation, addition or "
            "concatenation, so that no BatchNorm can be restored; expected a convolutional network"
        )
    moments = {node.outputs[0]: _Moments() for node in sites}

    def watch(node: Node, value: Value) -> None:
        if node.outputs[0] in moments:
            assert isinstance(value, Tensor)
            moments[node.outputs[0]].add(value)

    kept: list[tuple[Tensor, Tensor]] = []
    count = 0
    with torch.no_grad():
        for image in images:
            made = network.values(image, watch)[network.output_names[0]]
            assert isinstance(made, Tensor)
            if count < 4:
                kept.append((image, made))
            count += 1
            tell(count)
    if count < FEWEST:
        raise ModelError(
            f"{count} source frames are too few for statistics; expected {FEWEST} at least, "
            f"{USUAL} if there are so many"
        )
    uncertainty, layers = [], 0
    for node in sites:
        found = moments[node.outputs[0]]
        if found.positions == count and node.operator != "Gemm":
            continue  # maps of one position are gates, which have no BatchNorm
        mean, variance = found.mean, found.variance
        if not np.isfinite(mean + variance).all():
            raise node.error(
                "gives values that are not finite on the source frames; check their --scale"
            )
        layer = batch_norm_layer(np.sqrt(variance + EPS), mean, mean, variance, EPS)
        network.insert_behind(node, layer, "BatchNormalization")
        uncertainty.append(found.uncertainty)
        layers += 1
    difference = _difference(network, kept)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"with its BatchNorms restored the network differs by {difference:.1e} (relative), "
            f"more than {TOLERANCE:g}; expected outputs that are not this sensitive to rounding"
        )
    return Restored(layers, count, difference, float(np.mean(uncertainty or [0.0])))


class _Moments:
    """Mean and variance of each channel over all images' positions, in float64."""

    def __init__(self) -> None:
        self.positions = 0
        self._about: Tensor | None = None
        self._sums: list[Tensor] = []
        self._frames = 0

    def add(self, value: Tensor) -> None:
        """Take the values (N, channels, ...) of a few images."""
        flat = value.double().transpose(0, 1).flatten(1)
        if self._about is None:
            self._about = flat.mean(1)
            self._sums = [torch.zeros_like(self._about) for _ in range(3)]
        centred = flat - self._about[:, None]
        self._sums[0] += centred.sum(1)
        self._sums[1] += centred.square().sum(1)
        self._sums[2] += centred.mean(1).square()
        self.positions += flat.shape[1]
        self._frames += 1

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel."""
        assert self._about is not None
        return (self._about + self._sums[0] / self.positions).numpy()

    @property
    def variance(self) -> np.ndarray:
        """Variance of each channel."""
        shift = self._sums[0] / self.positions
        return (self._sums[1] / self.positions - shift.square()).clamp(min=0).numpy()

    @property
    def uncertainty(self) -> float:
        """Standard error of a channel's mean between frames, in its standard deviations; mean."""
        shift = self._sums[0] / self.positions
        between = (self._sums[2] / self._frames - shift.square()).clamp(min=0).numpy()
        deviation = np.sqrt(self.variance + EPS)
        return float(np.mean(np.sqrt(between / self._frames) / deviation))


def _difference(network: OnnxNetwork, kept: Iterable[tuple[Tensor, Tensor]]) -> float:
    worst = 0.0
    with torch.no_grad():
        for image, before in kept:
            after = network.values(image)[network.output_names[0]]
            assert isinstance(after, Tensor)
            scale = max(float(before.abs().max()), 1e-12)
            worst = max(worst, float((after - before).abs().max()) / scale)
    return worst
