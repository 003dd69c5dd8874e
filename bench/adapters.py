"""An adapter of a configuration that is already whole."""

from __future__ import annotations

from torch import nn

from edge_tta.adapter import Adapter
from edge_tta.config import MethodConfig
from edge_tta.network.frozen import FrozenNetwork
from edge_tta.prepare import InputSpec


def adapter_of(
    network: nn.Module | FrozenNetwork, config: MethodConfig, spec: InputSpec
) -> Adapter:
    """An adapter with every field as in `config`, whatever the presets say."""
    fields = config.as_dict()
    adapter = Adapter(network, fields.pop("method"), fields.pop("host"), input_spec=spec, **fields)
    assert adapter.config == config
    return adapter
