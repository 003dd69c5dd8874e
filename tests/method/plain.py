"""What the oracles of the hosts share: plain PyTorch in float64, normalised by the batch.

Each oracle is a loop over batches that shares nothing with `edge_tta.method`.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edge_tta.config import MethodConfig
from edge_tta.method.state import State
from edge_tta.method.step import Step
from edge_tta.network.capture import capture
from tests.networks import frozen, network

SIZE = 8


def spread_out(net: str, spread: float, n: int) -> nn.Module:
    """A named network in float64 whose logits have mean 0 and standard deviation `spread`.

    On batches of n images, normalised by the batch.
    """
    model = network(net).double()
    with torch.no_grad():
        plain = by_batch(model)
        logits = torch.cat([plain(images) for images in batches(30, n)])
        scale = spread / logits.std(0)
        model.head.bias.copy_((model.head.bias - logits.mean(0)) * scale)
        model.head.weight.mul_(scale[:, None])
    return model


def by_batch(model: nn.Module) -> nn.Module:
    """A copy whose BatchNorms take each batch's statistics; nothing asks for gradients."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train()
            module.track_running_stats = False
            module.running_mean = module.running_var = None
    return model


def affine(model: nn.Module, leave_out: tuple[str, ...] = ()) -> dict[str, nn.Parameter]:
    """BatchNorm weights and biases by name, which now ask for gradients."""
    return {
        f"{name}.{key}": parameter.requires_grad_(True)
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and name not in leave_out
        for key, parameter in module.named_parameters()
    }


def step_of(model: nn.Module, config: MethodConfig) -> Step:
    """The step under test, in float64."""
    return Step(capture(frozen(copy.deepcopy(model), torch.float64), (3, SIZE, SIZE)), config)


def batches(count: int, n: int, seed: int = 0) -> list[Tensor]:
    """Drifting images (n, 3, 8, 8), some batches far brighter than others."""
    generator = torch.Generator().manual_seed(seed)
    drifting = []
    for t in range(count):
        images = torch.randn((n, 3, SIZE, SIZE), generator=generator, dtype=torch.float64)
        light = torch.randn((n, 3, 1, 1), generator=generator, dtype=torch.float64)
        drifting.append(images * (0.5 + t / count) + light)
    return drifting


def entropy_of(row: Tensor) -> Tensor:
    """Entropy in nats of one row of logits (C,)."""
    p = row.softmax(0)
    return -(p * p.log()).sum()


def assert_parameters(
    step: Step,
    state: State,
    wanted: dict[str, nn.Parameter],
    rtol: float = 1e-7,
    atol: float = 1e-9,
) -> None:
    """The state's parameters are those of the plain model, to the last name."""
    learned = step.parameters.split(state["opt.parameters"])
    assert learned.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(learned[name], value.detach(), rtol=rtol, atol=atol)
