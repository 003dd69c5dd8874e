"""An adapter of a configuration that is already whole."""

from __future__ import annotations

from typing import Any

from torch import nn

from edge_tta.adapter import Adapter
from edge_tta.config import MethodConfig
from edge_tta.network.frozen import FrozenNetwork
from edge_tta.prepare import InputSpec


def adapter_of(
    network: nn.Module | FrozenNetwork, config: MethodConfig, spec: InputSpec, **options: Any
) -> Adapter:
    """An adapter with every field as in `config`, whatever the presets say.

    options: those of `Adapter` that are no fields of the method: `device`, `saved`.
    """
    fields = config.as_dict()
    method, host = fields.pop("method"), fields.pop("host")
    adapter = Adapter(network, method, host, input_spec=spec, **options, **fields)
    assert adapter.config == config
    return adapter
