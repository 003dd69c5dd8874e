"""Networks with random weights: what adaptation costs does not depend on what was learned."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from edge_tta.errors import ModelError, did_you_mean
from edge_tta.models import Model
from edge_tta.prepare import InputSpec, Size

SMALL = "small"
"""Name of `small_model` on the command line."""

_AUXILIARY = ("googlenet", "inception_v3")
"""torchvision builds these with a second classifier, which training alone uses."""


def untrained(spec: str, size: Size = 224) -> Model:
    """`torchvision:NAME` with seeded random weights and statistics that belong to them.

    Statistics that do not fit make activations huge or denormal, which slows some processors down.
    Affine parameters vary as trained ones do.

    Raises:
        ModelError: no such architecture.
    """
    import torchvision

    name = spec.removeprefix("torchvision:")
    known = torchvision.models.list_models(module=torchvision.models)
    if name == spec or name not in known:
        hint = did_you_mean(name, known)
        raise ModelError(f"--untrained needs --model torchvision:NAME, got {spec!r}{hint}")
    options = {"aux_logits": False, "init_weights": True} if name in _AUXILIARY else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torchvision.models.get_model(name, weights=None, **options)
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.affine:
                nn.init.uniform_(norm.weight, 0.8, 1.2)
                nn.init.normal_(norm.bias, std=0.2)
        taken = InputSpec().changed(size=size)
        update_bn([torch.randn(4, *taken.shape)], module)
    return Model(f"{spec} (untrained)", module.eval(), taken)


def small_model(classes: int = 10) -> Model:
    """A network of two layers, so small that 200,000 frames take minutes."""
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
        update_bn((torch.randn(16, 3, size, size) for _ in range(50)), network)
    return Model(SMALL, network.eval(), InputSpec(size, 255.0, (0.5,) * 3, (0.25,) * 3))
