"""Engines of modules, and of ONNX files that are read as modules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edge_tta.config import MethodConfig
from edge_tta.engines.base import BACKWARD, Backward
from edge_tta.engines.torch import TorchEngine, as_tensor
from edge_tta.errors import ConfigError
from edge_tta.network.capture import outputs_of
from edge_tta.network.source import SourceNetwork
from edge_tta.network.source_statistics import measure, too_few
from edge_tta.prepare import InputSpec
from edge_tta.tasks import Task, find_task

if TYPE_CHECKING:
    from edge_tta.network.onnx_file import OnnxFile

_log = logging.getLogger(__name__)


def torch_engine(
    model: nn.Module | SourceNetwork,
    config: MethodConfig,
    device: str,
    input_spec: InputSpec | None,
    backward: Backward = BACKWARD,
    task: Task | None = None,
    host_by_task: bool = False,
) -> TorchEngine:
    """Return an engine of a module, or of a network that other engines have, with its own task.

    Raises:
        ConfigError: an unknown device.
        ModelError: a model that cannot be taken.
    """
    network = model if isinstance(model, SourceNetwork) else source_network(model, device, task)
    spec = input_spec or InputSpec()
    return TorchEngine(network, config, spec, backward, host_by_task)


def read_onnx(path: str | Path, source_images: Any = None, task: Task | None = None) -> OnnxFile:
    """Return the network of an ONNX file, with its BatchNorms restored where images are given.

    source_images: (M, channels, H, W) of the source domain, normalised.
    task: None: what its outputs look like.

    Raises:
        ModelError: it cannot be read, or has its BatchNorms folded and there are no images.
    """
    from edge_tta.network.onnx_file import read_file
    from edge_tta.network.onnx_file.restoring import check_statistics, restore

    file = read_file(path)
    if source_images is not None:
        images = _one_by_one(source_images)
        done = restore(file.module, images, task=task or _task_of(file.module, images))
        _log.log(logging.WARNING if done.kept else logging.INFO, "%s: %s", path, done.told)
    elif note := check_statistics(file.module, str(path), "source_images=..."):
        _log.warning("%s", note)
    return file


def with_statistics(
    model: nn.Module | SourceNetwork, source_images: Any, task: Task | None
) -> nn.Module:
    """Return a copy of a module whose BatchNorms have the statistics of images.

    source_images: (M, channels, H, W) of the source domain, normalised.
    task: None: what its outputs look like.

    Raises:
        ConfigError: a network that adapters share has its statistics already.
        ModelError: as of `measure`, or the module cannot be copied.
    """
    if isinstance(model, SourceNetwork):
        raise ConfigError(
            "source_images are for a module or an ONNX file; the network of another adapter has "
            "its statistics: leave them out"
        )
    copied = SourceNetwork(model, torch.device("cpu")).copy()
    images = _one_by_one(source_images)
    done = measure(copied, images, task=task or _task_of(copied, images))
    _log.log(logging.WARNING if done.kept else logging.INFO, "%s", done.told)
    return copied


def _one_by_one(images: Any) -> list[Tensor]:
    """Return images, a tensor or an array (M, channels, H, W), one by one on the CPU."""
    images = as_tensor(images).cpu()
    if not len(images):
        raise too_few(0)
    return [images[i : i + 1] for i in range(len(images))]


def _task_of(network: nn.Module, images: Sequence[Tensor]) -> Task:
    shape = tuple(images[0].shape[1:])
    return find_task(outputs_of(network, shape), shape)


def source_network(model: nn.Module, device: str, task: Task | None = None) -> SourceNetwork:
    """Return a copy of a module on a device, which any number of engines share.

    task: None: what its outputs look like.

    Raises:
        ConfigError: an unknown device.
        ModelError: a model that cannot be taken.
    """
    return SourceNetwork(model, _device(device), task)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}; expected cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not supported; expected cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "no CUDA device is available to PyTorch; use --device cpu, or install a CUDA build of "
            "PyTorch and check nvidia-smi"
        )
    return device
