"""A network as trained, and as it comes back from an ONNX file from so many source frames."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from edge_tta import nest
from edge_tta.engines.modules import source_network
from edge_tta.models import Model
from edge_tta.models.source_frames import with_source_frames
from edge_tta.network.onnx_file import read_file
from edge_tta.network.source import SourceNetwork
from export.parity_steps import furthest

_OPSET = 17
_IMAGES = 4


@dataclass(frozen=True)
class Variant:
    """A network as trained, or restored.

    Attributes:
        source_frames: what it was restored from; 0: as trained.
        sites: BatchNorms that adapt.
        difference: largest of its outputs on random images to those as trained, relative.
        seconds: of reading, restoring and capturing.
    """

    model: Model
    network: SourceNetwork
    source_frames: int
    sites: int
    difference: float
    seconds: float


def write_folded(model: Model, path: Path) -> None:
    """Write a model by PyTorch's ONNX exporter, which folds BatchNorm into the layer before it.

    Raises:
        Exception: whatever the exporter raises of a network that it does not take.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter tells of itself that it is the older one
        torch.onnx.export(
            model.module.eval(),
            (torch.zeros(1, *model.input.shape),),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
        )


def variants(
    model: Model,
    frames: str,
    counts: Sequence[int],
    folder: Path,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Variant]:
    """Yield a model as trained, then restored from the first so many source frames each.

    Args:
        frames: as of --source-frames. folder: for the ONNX file.

    Raises:
        ModelError: it cannot be exported, read, restored or captured.
    """
    path = folder / "net.onnx"
    write_folded(model, path)
    images = torch.randn((_IMAGES, *model.input.shape), generator=torch.Generator().manual_seed(0))
    expected = _outputs(model.module, images)
    yield _captured(model, 0, 0.0, time.perf_counter())
    for count in counts:
        begin = time.perf_counter()
        read = dataclasses.replace(model, module=read_file(path).module)
        read, _ = with_source_frames(read, frames, count, tell)
        outputs = _outputs(read.module, images)
        difference = furthest(outputs, expected)
        yield _captured(read, count, difference, begin)


def _captured(model: Model, count: int, difference: float, begin: float) -> Variant:
    network = source_network(model.module, "cpu", model.task)
    sites = len(network.program(model.input.shape, "float32").sites)
    return Variant(model, network, count, sites, difference, time.perf_counter() - begin)


def _outputs(module: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        outputs: list[torch.Tensor] = nest.leaves(module(images))
    return outputs
