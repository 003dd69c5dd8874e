"""Peers from public repositories: run as they are, from a checked-out copy that the user names.

None of their code is here. What each needs is said beside it; what a repository asks for besides
(its own packages) is its own to install.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bench.cost.peers import PEERS, StockTent, no_stage
from bench.cost.subjects import OnStage
from edge_tta.errors import ConfigError, ModelError, one_line


class Whole:
    """A peer that adapts and predicts in one call, whose stages cannot be told apart."""

    def __init__(self, adapted: nn.Module, model: nn.Module) -> None:
        self._adapted, self.model = adapted, model
        self.optimizer: torch.optim.Optimizer | None = getattr(adapted, "optimizer", None)
        self.on_stage: OnStage = no_stage

    def __call__(self, images: Tensor) -> Tensor:
        self.on_stage("prepare")
        logits: Tensor = self._adapted(images)
        self.on_stage("whole step")
        return logits.detach()


def tent(folder: Path, model: nn.Module, device: torch.device) -> Whole:
    """DequanWang/tent: tent.py at its root, which needs PyTorch only."""
    module = _module(folder, "tent.py", "DequanWang/tent")
    network = module.configure_model(copy.deepcopy(model).to(device))
    parameters, _ = module.collect_params(network)
    return Whole(module.Tent(network, torch.optim.Adam(parameters, lr=1e-3)), network)


def test_time_adaptation(folder: Path, model: nn.Module, device: torch.device) -> Whole:
    """mariodoebler/test-time-adaptation: its Tent, classification/methods/tent.py.

    It needs the repository's own requirements: importing its Tent imports all of its methods.
    """
    root = folder / "classification"
    if not (root / "methods" / "tent.py").is_file():
        raise _missing("mariodoebler/test-time-adaptation", root / "methods" / "tent.py")
    if device.type == "cpu" and torch.cuda.is_available():
        raise ModelError(
            "mariodoebler/test-time-adaptation takes CUDA wherever it is; to run it on the CPU, "
            "hide the GPU: CUDA_VISIBLE_DEVICES= edge-tta bench ..."
        )
    sys.path.insert(0, str(root))
    try:
        configuration = importlib.import_module("conf").cfg.clone()
        configuration.TEST.BATCH_SIZE = configuration.TEST.WINDOW_LENGTH = 1
        configuration.OPTIM.LR = 1e-3
        network = copy.deepcopy(model).to(device)
        adapted = importlib.import_module("methods.tent").Tent(configuration, network, 1000)
    except Exception as error:
        raise _unusable("mariodoebler/test-time-adaptation", folder, error) from error
    finally:
        sys.path.remove(str(root))
    return Whole(adapted, network)


test_time_adaptation.__test__ = False  # type: ignore[attr-defined]  # not pytest's


def memsave(folder: Path, model: nn.Module, device: torch.device) -> StockTent:
    """plutonium-239/memsave_torch: its layers under stock Tent.

    They save less where parameters do not train. BatchNorm's affine parameters are set to train
    before the layers are exchanged, so that it can tell.
    """
    if not (folder / "memsave_torch").is_dir():
        raise _missing("plutonium-239/memsave_torch", folder / "memsave_torch")
    sys.path.insert(0, str(folder))
    try:
        convert = importlib.import_module("memsave_torch.nn").convert_to_memory_saving
        plain = StockTent(model, device)
        return StockTent(convert(plain.model), device)
    except ModelError:
        raise
    except Exception as error:
        raise _unusable("plutonium-239/memsave_torch", folder, error) from error
    finally:
        sys.path.remove(str(folder))


Repository = Callable[[Path, nn.Module, torch.device], Any]
REPOSITORIES: dict[str, Repository] = {
    "DequanWang/tent": tent,
    "mariodoebler/test-time-adaptation": test_time_adaptation,
    "plutonium-239/memsave_torch": memsave,
}


def parse_peers(text: str) -> dict[str, str | None]:
    """Folders of peers by name, from NAME or NAME=FOLDER separated by commas.

    Raises:
        ConfigError: an unknown peer, or a public repository without its folder.
    """
    places: dict[str, str | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, place = part.partition("=")
        if name in REPOSITORIES and not place:
            raise ConfigError(
                f"peer {name} needs a checked-out copy: git clone https://github.com/{name}, then "
                f"--peers {name}=FOLDER"
            )
        if name not in (REPOSITORIES if place else PEERS):
            known = [*PEERS, *(f"{name}=FOLDER" for name in REPOSITORIES)]
            raise ConfigError(f"unknown peer {part!r}; expected {', '.join(known)}")
        places[name] = place or None
    return places


def _module(folder: Path, name: str, repository: str) -> ModuleType:
    path = folder / name
    if not path.is_file():
        raise _missing(repository, path)
    spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _unusable(repository, folder, error) from error
    return module


def _missing(repository: str, path: Path) -> ModelError:
    return ModelError(
        f"there is no {path}; expected a copy of {repository}: git clone "
        f"https://github.com/{repository}"
    )


def _unusable(repository: str, folder: Path, error: BaseException) -> ModelError:
    return ModelError(
        f"{repository} in {folder} cannot be used: {type(error).__name__}: "
        f"{one_line(error, 160)}; install what its README asks for"
    )
