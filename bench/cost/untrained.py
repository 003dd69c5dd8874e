"""Architectures with random weights: what adaptation costs does not depend on what was learned."""

from __future__ import annotations

import difflib

import torch
from torch import nn

from edge_tta.errors import ModelError
from edge_tta.models import Model
from edge_tta.prepare import InputSpec, Size


def untrained(spec: str, size: Size = 224) -> Model:
    """`torchvision:NAME` with seeded random weights, and statistics that belong to them.

    Statistics are of a few random images, so that activations are neither denormal nor huge, which
    would slow some processors down.

    Raises:
        ModelError: no such architecture.
    """
    import torchvision

    name = spec.removeprefix("torchvision:")
    known = torchvision.models.list_models(module=torchvision.models)
    if name == spec or name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ModelError(f"--untrained needs --model torchvision:NAME, got {spec!r}{hint}")
    taken = InputSpec().changed(size=size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torchvision.models.get_model(name, weights=None)
        calibrate(module, taken.shape)
    return Model(f"{spec} (untrained)", module.eval(), taken)


def calibrate(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Running statistics of four random images."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a plain average
    module.train()
    with torch.no_grad():
        module(torch.randn(4, *shape))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()
