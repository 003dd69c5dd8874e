"""Tent as PyTorch's autograd runs it, plainly and with checkpointing.

Tent (Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021), written
here from the paper as anyone would write it: BatchNorm normalises with the batch's own statistics,
only its affine parameters train, on the mean entropy of the predictions, one Adam step a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from edge_tta.errors import ModelError
from edge_tta.method.stages import OnStage, no_stage


class StockTent:
    """Tent at any batch size, as stock PyTorch runs it. The model given is not changed.

    Args:
        forward: how the adapted copy is run; None: called.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        forward: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ) -> None:
        self.model = copy.deepcopy(model).to(device).train().requires_grad_(False)
        self._forward = forward or (lambda module, images: module(images))
        trained: list[nn.Parameter] = []
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.track_running_stats = False
                module.running_mean = module.running_var = None
                trained += module.requires_grad_(True).parameters()
            elif isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        if not trained:
            raise ModelError("the model has no BatchNorm with affine parameters, which Tent trains")
        self.optimizer = torch.optim.Adam(trained, lr=1e-3)
        self.on_stage: OnStage = no_stage

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, classes) from before the update."""
        self.on_stage("prepare")
        logits = self._forward(self.model, images)
        self.on_stage("forward")
        entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
        entropy.mean().backward()
        self.on_stage("backward")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.on_stage("update")
        return logits.detach()


def checkpointed_tent(model: nn.Module, device: torch.device) -> StockTent:
    """Tent that keeps the inputs of some sqrt(n) of its n parts and computes the rest again.

    Raises:
        ModelError: the model is no chain of parts that are known here.
    """
    chain = _chain(model)
    if chain is None or len(chain(copy.deepcopy(model))) < 2:
        raise ModelError(
            f"tent-checkpoint does not know the parts of a {type(model).__name__}; expected an "
            "nn.Sequential, or a ResNet or MobileNet of torchvision"
        )

    def run(module: nn.Module, images: Tensor) -> Tensor:
        parts = chain(module)
        segments = max(2, round(len(parts) ** 0.5))
        run_parts: Any = checkpoint_sequential
        logits: Tensor = run_parts(parts, segments, images, use_reentrant=False)
        return logits

    return StockTent(model, device, run)


_RESNET = ["conv1", "bn1", "relu", "maxpool", *(f"layer{k}" for k in range(1, 5)), "avgpool", "fc"]


def _chain(model: nn.Module) -> Callable[[nn.Module], list[nn.Module]] | None:
    """A function that splits a network into modules that run one after another."""
    if isinstance(model, nn.Sequential):
        return lambda m: list(m.children())
    names = [name for name, _ in model.named_children()]
    if names == ["features", "classifier"] and type(model).__name__ == "MobileNetV2":
        return _mobilenet_v2
    return _resnet if names == _RESNET else None


def _resnet(model: nn.Module) -> list[nn.Module]:
    parts = dict(model.named_children())
    stem = [parts[name] for name in ("conv1", "bn1", "relu", "maxpool")]
    blocks = [block for k in "1234" for block in parts[f"layer{k}"].children()]
    return [*stem, *blocks, parts["avgpool"], nn.Flatten(), parts["fc"]]


def _mobilenet_v2(model: nn.Module) -> list[nn.Module]:
    parts = dict(model.named_children())
    pool: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return [*parts["features"].children(), *pool, parts["classifier"]]


class StockForward:
    """The source network as stock PyTorch runs it; adapts nothing."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = copy.deepcopy(model).to(device).eval().requires_grad_(False)
        self.on_stage: OnStage = no_stage

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, classes)."""
        with torch.inference_mode():
            logits: Tensor = self.model(images)
        self.on_stage("forward")
        return logits
