"""Adapters and bundles of a configuration that is already whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from bench.methods import predictor_of
from edge_tta.adapter import Adapter
from edge_tta.config import MethodConfig
from edge_tta.engines.base import BACKWARD, Backward
from edge_tta.engines.modules import torch_engine
from edge_tta.errors import ConfigError
from edge_tta.models import Model
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import Images, InputSpec
from edge_tta.tasks import Task
from export.bundle import write_bundle


def adapter_of(
    network: nn.Module | SourceNetwork,
    config: MethodConfig,
    spec: InputSpec,
    backward: Backward = BACKWARD,
    device: str = "cpu",
    task: Task | None = None,
) -> Adapter:
    """Return an adapter with every field as in `config`, whatever the presets say.

    task: of a module; None: what its outputs look like.
    """
    return Adapter(torch_engine(network, config, device, spec, backward, task))


def check_method(
    network: SourceNetwork, spec: InputSpec, label: str, config: MethodConfig, backward: Backward
) -> None:
    """Refuses a method that cannot run on a network, or would run as another than its label says.

    backward: as it is to be measured, so that the network is captured once.

    Raises:
        ConfigError: it cannot, or would.
    """
    adapter = adapter_of(network, config, spec, backward)
    try:
        adapter.prepare(spec.shape)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--method ", "--methods ")) from error
    predictor_of(adapter, label)
    named = label.partition("+")[0].partition("@")[0] != "nanoadapt"
    if named and adapter.config.host != config.host and adapter.task is not None:
        raise ConfigError(
            f"{label}: task {adapter.task.name} has no loss to train by, so it would only "
            f"calibrate; name nanoadapt:{adapter.config.host} in --methods"
        )


def make_bundle(
    model: Model,
    config: MethodConfig,
    folder: Path,
    network: SourceNetwork,
    int8: Sequence[Images] | None = None,
) -> None:
    """Write a bundle of one method into a new folder, which is not compared with PyTorch.

    network: of the model. int8: as of `export.bundle.write_bundle`.

    Raises:
        ModelError: the network cannot be captured or exported.
        ConfigError: the method needs what a bundle does not hold.
    """
    folder.mkdir()
    adapter = adapter_of(network, config, model.input)
    write_bundle(replace(model, labels=None), [adapter], "edge", folder, int8=int8)
