"""An adapter of a configuration that is already whole."""

from __future__ import annotations

from torch import nn

from edge_tta.adapter import Adapter
from edge_tta.config import MethodConfig
from edge_tta.engines.modules import torch_engine
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec
from edge_tta.tasks import Task


def adapter_of(
    network: nn.Module | SourceNetwork,
    config: MethodConfig,
    spec: InputSpec,
    saved: str = "float32",
    device: str = "cpu",
    activation_checkpointing: int | str = 0,
    task: Task | None = None,
) -> Adapter:
    """Return an adapter with every field as in `config`, whatever the presets say.

    task: of a module; None: what its outputs look like.
    """
    return Adapter(
        torch_engine(network, config, device, spec, saved, activation_checkpointing, task)
    )
