"""The small residual BatchNorm network of the demo."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edge_tta.demo.spec import LABELS
from edge_tta.errors import ModelError

WEIGHTS = Path(__file__).with_name("weights.safetensors")

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


def road_signs(weights: Path = WEIGHTS) -> RoadSignNet:
    """The trained network in evaluation mode, on the CPU.

    Raises `ModelError` when the weights are missing, damaged, or of another network.
    """
    network = RoadSignNet()
    remedy = "reinstall edge_tta, or train them: python -m edge_tta.demo.train --out FILE"
    try:
        network.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise ModelError(f"no demo weights at {weights}; {remedy}") from None
    except (OSError, SafetensorError, RuntimeError):
        raise ModelError(f"{weights} does not hold the weights of RoadSignNet; {remedy}") from None
    return network.eval()
