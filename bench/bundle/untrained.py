"""Weights to measure time and memory with where none can be had: random, but sensible."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edge_tta.errors import ModelError


def write_untrained(name: str, path: Path, size: int) -> None:
    """A state dict of `torchvision:NAME` whose BatchNorms have the statistics of their inputs.

    Statistics that do not fit blow activations up, or down to denormals, which slows everything.

    Raises:
        ModelError: no such model.
    """
    import torchvision

    options = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    try:
        model = torchvision.models.get_model(name, weights=None, **options)
    except ValueError as error:
        raise ModelError(f"torchvision has no classifier {name!r}") from error
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.momentum = None
                shape = module.weight.shape
                module.weight.copy_(0.8 + 0.4 * torch.rand(shape, generator=generator))
                module.bias.copy_(0.2 * torch.randn(shape, generator=generator))
                module.train()
        model(torch.randn((4, 3, size, size), generator=generator))
    torch.save(model.state_dict(), path)
