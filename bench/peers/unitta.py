"""Peers in LeapLabTHU/UniTTA, which holds seven methods behind one interface.

Each has the constants of the repository's own configuration for the set with about as many classes.
Its loop skips batches of one frame; here each frame goes through the method's `forward`.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import math
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bench.peers import UNITTA
from bench.peers.importing import Whole, importing
from edge_tta.errors import ModelError
from edge_tta.models import Model

_SETS = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
"""Classes of the sets that the repository has configurations for."""


def unitta(name: str, folder: Path, model: Model, device: torch.device) -> Whole:
    """Return a method on a copy of a classifier, which takes normalised images.

    The images are un-normalised and normalised again inside the network, since the repository's
    augmentations are of pictures in 0..1. What is drawn at random starts from its own seed.

    Raises:
        ModelError: no copy of the repository, or a network that it cannot take.
    """
    with importing(UNITTA, folder, folder / "core" / "adapter" / "build.py"), _on(device):
        network = _network(model).to(device)
        with torch.inference_mode():
            logits = network(torch.zeros(1, *model.input.shape, device=device))
        module = importlib.import_module
        settings = module("core.configs").d_cfg.clone()
        settings.defrost()
        nearest = min(_SETS, key=lambda own: abs(math.log(_SETS[own] / logits.shape[1])))
        settings.merge_from_file(str(folder / "configs" / "adapter" / nearest / f"{name}.yaml"))
        settings.CORRUPTION.NUM_CLASS = logits.shape[1]
        settings.INPUT.SIZE = model.input.shape[1:]
        settings.TEST.BATCH_SIZE = 1
        own = settings.ADAPTER.get(name.upper(), {})
        if "CLASSIFIER" in own:
            own.CLASSIFIER = _classifier(network)
        if "LAYER" in own:
            own.LAYER = _domain_layer(network)
        module("core.utils").set_random_seed(settings.SEED)
        made = module("core.adapter").build_adapter(settings)
        adapter = made(settings, network, module("core.optim").build_optimizer(settings))
    return Whole(_Answers(adapter, model, device), network, adapter.optimizer)


class _Answers:
    """Logits of normalised images from one of the repository's adapters."""

    def __init__(self, adapter: Any, model: Model, device: torch.device) -> None:
        self._adapter, self._device = adapter, device
        self._mean, self._std = _constants(model, device)

    def __call__(self, images: Tensor) -> Tensor:
        with _on(self._device):
            answer = self._adapter(images * self._std + self._mean)
        logits: Tensor = answer[0] if isinstance(answer, tuple) else answer
        return logits


class _Normalise(nn.Module):
    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = nn.Buffer(mean), nn.Buffer(std)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def _constants(model: Model, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (channels, 1, 1) of pictures in 0..1."""
    scale = model.input.scale / 255
    mean, std = (torch.tensor(v, device=device) for v in (model.input.mean, model.input.std))
    return mean.reshape(-1, 1, 1) * scale, std.reshape(-1, 1, 1) * scale


def _network(model: Model) -> nn.Sequential:
    """Return a copy of the network that takes pictures in 0..1, in evaluation mode."""
    normalise = _Normalise(*_constants(model, torch.device("cpu")))
    named = OrderedDict(normalise=normalise, network=copy.deepcopy(model.module))
    return nn.Sequential(named).eval()


def _classifier(network: nn.Module) -> str:
    """Return the name of the last linear layer."""
    names = _named(network, nn.Linear)
    if not names:
        raise ModelError(f"{UNITTA} needs a network that ends in an nn.Linear; this has none")
    return names[-1]


def _domain_layer(network: nn.Module) -> str:
    """Return the BatchNorm by which UniTTA tells domains apart: a third of the way up.

    Its configuration names the first of the second of three stages of a WideResNet.
    """
    names = _named(network, nn.BatchNorm2d)
    if not names:
        raise ModelError(f"{UNITTA} needs a network with nn.BatchNorm2d; this has none")
    return names[len(names) // 3]


def _named(network: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, kind)]


class _Placed(TorchFunctionMode):
    """Puts on a device what the repository asks to be put on CUDA."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == "cuda":
            kwargs["device"] = self._device
        if func is Tensor.cuda:
            return args[0].to(self._device)
        return func(*args, **kwargs)


@contextlib.contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """A block in which the repository runs on a device, and prints nothing."""
    with _Placed(device), contextlib.redirect_stdout(io.StringIO()):
        yield
