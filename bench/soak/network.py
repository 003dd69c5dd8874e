"""A network so small that 200,000 frames take minutes: what is soaked is the runtime."""

from __future__ import annotations

from torch import nn

from edge_tta.models import Model
from edge_tta.prepare import InputSpec

NAME = "small"


def small_model(classes: int = 10) -> Model:
    """Two convolutions, two BatchNorms, 16 x 16 pixels; the same random weights each time."""
    import torch

    size = 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, classes),
        )
        # Statistics of its own inputs, as training would have left them.
        network.train()
        with torch.no_grad():
            for _ in range(50):
                network(torch.randn(16, 3, size, size))
    spec = InputSpec(size, 255.0, (0.5,) * 3, (0.25,) * 3)
    return Model(NAME, network.eval(), spec)
