"""Peers from public repositories: run as they are, from a checked-out copy that the user names.

None of their code is here. What each needs is said beside it; what a repository asks for besides
(its own packages) is its own to install.
"""

from __future__ import annotations

import copy
import importlib
from pathlib import Path

import torch

from bench.peers.importing import Whole, importing, module_at
from bench.peers.stock import StockTent
from bench.peers.unitta import unitta as unitta
from edge_tta.errors import ModelError
from edge_tta.models import Model


def tent(name: str, folder: Path, model: Model, device: torch.device) -> Whole:
    """DequanWang/tent: tent.py at its root, which needs PyTorch only."""
    with importing("DequanWang/tent", folder, folder / "tent.py"):
        module = module_at(folder / "tent.py")
    network = module.configure_model(copy.deepcopy(model.module).to(device))
    parameters, _ = module.collect_params(network)
    return Whole(module.Tent(network, torch.optim.Adam(parameters, lr=1e-3)), network)


def test_time_adaptation(name: str, folder: Path, model: Model, device: torch.device) -> Whole:
    """mariodoebler/test-time-adaptation: its Tent, classification/methods/tent.py.

    It needs the repository's own requirements: importing its Tent imports all of its methods.
    """
    root = folder / "classification"
    with importing("mariodoebler/test-time-adaptation", root, root / "methods" / "tent.py"):
        if device.type == "cpu" and torch.cuda.is_available():
            raise ModelError(
                "mariodoebler/test-time-adaptation takes CUDA wherever it is; to run it on the "
                "CPU, hide the GPU: CUDA_VISIBLE_DEVICES= edge-tta bench ..."
            )
        configuration = importlib.import_module("conf").cfg.clone()
        configuration.TEST.BATCH_SIZE = configuration.TEST.WINDOW_LENGTH = 1
        configuration.OPTIM.LR = 1e-3
        network = copy.deepcopy(model.module).to(device)
        adapted = importlib.import_module("methods.tent").Tent(configuration, network, 1000)
    return Whole(adapted, network)


test_time_adaptation.__test__ = False  # type: ignore[attr-defined]  # not pytest's


def memsave(name: str, folder: Path, model: Model, device: torch.device) -> StockTent:
    """plutonium-239/memsave_torch: its layers under stock Tent.

    They save less where parameters do not train. BatchNorm's affine parameters are set to train
    before the layers are exchanged, so that it can tell.
    """
    with importing("plutonium-239/memsave_torch", folder, folder / "memsave_torch"):
        convert = importlib.import_module("memsave_torch.nn").convert_to_memory_saving
        return StockTent(convert(StockTent(model.module, device).model), device)
