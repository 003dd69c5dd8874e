"""The small residual BatchNorm network of the demo."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from edge_tta.demo.spec import LABELS
from edge_tta.errors import ModelError

SOURCE_GRAPH = Path(__file__).parent / "bundle" / "source.observe.onnx"
"""The network as trained, in the demo's bundle: its weights are in the package once."""

_WIDTHS = (16, 32, 64, 96)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        z: Tensor = self.relu(y + self.shortcut(x))
        return z


class RoadSignNet(nn.Module):
    """Images (N, 3, 64, 64) as `spec.INPUT` prepares them -> logits (N, 12)."""

    def __init__(self) -> None:
        super().__init__()
        first, *_, last = _WIDTHS
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU()
        )
        inputs = (first, *_WIDTHS[:-1])
        self.blocks = nn.Sequential(
            *(
                _Block(i, o, stride)
                for i, o, stride in zip(inputs, _WIDTHS, (1, 2, 2, 2), strict=True)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, len(LABELS))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.pool(self.blocks(self.stem(images)))
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


def road_signs(graph: Path = SOURCE_GRAPH) -> RoadSignNet:
    """The trained network in evaluation mode, on the CPU.

    Raises `ModelError` when the graph of a bundle is missing, damaged, or of another network.
    """
    try:
        from edge_tta.network.onnx_file.loading import array_of, load_proto, text
    except ImportError as error:
        raise ModelError(
            "the demo's network in PyTorch needs the package onnx; install it: "
            "pip install 'edge-tta[torch]'"
        ) from error
    proto = load_proto(graph)
    constants = {text(tensor.name): array_of(tensor) for tensor in proto.graph.initializer}
    network = RoadSignNet()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    try:
        # Equal tensors are stored once, so the nodes that use them are gone through, in order.
        used = [
            [constants[text(name)] for name in node.input[1:]]
            for node in proto.graph.node
            if node.op_type in ("Conv", "BatchNormalization", "Gemm")
        ]
        with torch.no_grad():
            for layer, arrays in zip(layers, used, strict=True):
                for own, array in zip(_tensors(layer), arrays, strict=True):
                    own.copy_(torch.tensor(array.reshape(own.shape)))
    except (KeyError, ValueError):
        raise ModelError(
            f"{graph} does not hold the weights of RoadSignNet; reinstall edge_tta"
        ) from None
    return network.eval()


def _tensors(layer: nn.Conv2d | nn.BatchNorm2d | nn.Linear) -> list[Tensor]:
    """A layer's tensors, as ONNX's operator takes them."""
    if isinstance(layer, nn.BatchNorm2d):
        assert layer.running_mean is not None
        assert layer.running_var is not None
        return [layer.weight, layer.bias, layer.running_mean, layer.running_var]
    if isinstance(layer, nn.Linear):
        return [layer.weight.T, layer.bias]
    return [layer.weight]
