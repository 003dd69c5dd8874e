"""BatchNorm put back where a deployed network has it folded away.

A folded convolution's output z gets a BatchNorm that does nothing: mean and beta 0, variance and
gamma 1. Then its statistics are measured on unlabelled source frames, as of any BatchNorm
(`edge_tta.network.source_statistics`): gamma becomes sqrt(variance + eps) and beta the mean, which
are those that the folded pair was trained with, as far as the frames are like those of training.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_tta.errors import ModelError
from edge_tta.network.onnx_file.network import OnnxNetwork
from edge_tta.network.onnx_file.nodes import Node, Value
from edge_tta.network.onnx_file.operators.activations import ACTIVATIONS
from edge_tta.network.onnx_file.operators.normalisation import batch_norm_layer
from edge_tta.network.source_statistics import Measured, measure, too_few
from edge_tta.tasks import Task

EPS = 1e-5
"""Epsilon of the restored BatchNorms, PyTorch's usual one."""
_LINEAR = {"Conv", "ConvTranspose", "Gemm"}
_THROUGH = {"QuantizeLinear", "DequantizeLinear", "Identity", "Dropout"}
_BEHIND = ACTIVATIONS | {
    *("Add", "Sub", "Sum", "Concat", "Conv", "ConvTranspose", "Resize", "Split"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"),
}


def sites_of(network: OnnxNetwork) -> list[Node]:
    """Return linear maps behind which a BatchNorm belongs: what reads them is no output alone."""
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)

    def kinds(name: str) -> set[str]:
        seen: set[str] = set()
        for node in readers.get(name, ()):
            seen |= kinds(node.outputs[0]) if node.operator in _THROUGH else {node.operator}
        return seen

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
    tell: Callable[[Any], None] = lambda outputs: None,
    task: Task | None = None,
) -> Measured:
    """Give a network its BatchNorms back, and all of them the images' statistics, in place.

    The function stays.

    Args:
        images: of the source domain, unlabelled, each (1, channels, H, W), normalised.
        tell: is given the outputs of each image.
        task: as of `measure`, where no BatchNorm is restored.

    Raises:
        ModelError: as of `measure`, or nothing to restore.
    """
    sites = sites_of(network)
    if not sites and not has_batch_norm(network):
        raise ModelError(
            "the network has no convolution or Gemm in front of an activation, addition or "
            "concatenation, so that no BatchNorm can be restored; expected a convolutional network"
        )
    rest = iter(images)
    first = next(rest, None)
    if first is None:
        raise too_few(0)
    channels = _channels(network, sites, first)
    for node in sites:
        if count := channels.get(node.outputs[0]):
            ones, zeros = np.ones(count), np.zeros(count)
            layer = batch_norm_layer(np.sqrt(ones + EPS), zeros, zeros, ones, EPS)
            network.insert_behind(node, layer, "BatchNormalization")
    return measure(network, itertools.chain([first], rest), tell, None if channels else task)


def _channels(network: OnnxNetwork, sites: Sequence[Node], image: Tensor) -> dict[str, int]:
    """Return channels of the sites' outputs, but of gates: their maps have one position."""
    operators = {node.outputs[0]: node.operator for node in sites}
    channels: dict[str, int] = {}

    def watch(node: Node, value: Value) -> None:
        operator = operators.get(node.outputs[0])
        if operator is None:
            return
        assert isinstance(value, Tensor)
        if operator == "Gemm" or value[0, 0].numel() > 1:
            channels[node.outputs[0]] = value.shape[1]

    network.check_shape(tuple(image.shape[1:]))
    with torch.no_grad():
        network.values(image, watch)
    return channels
