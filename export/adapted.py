"""An adapted network as weights: all of them (folded), or only those that changed (delta)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.checkpoint import load_state
from edge_tta.config.fields import from_dict
from edge_tta.engines.modules import torch_engine
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ModelError, StateError
from edge_tta.files import write_whole
from edge_tta.models import Model
from export.parity_steps import furthest

PARITY = 1e-3
"""Largest allowed difference of logits between the folded network and the adapter, relative."""


def adapter_of(model: Model, state: str | Path) -> Adapter:
    """The adapter that a state file was saved from, ready to go on.

    Raises:
        StateError: the file is damaged, or not of this model.
    """
    _, header = load_state(state)
    try:
        config = from_dict(header.config)
    except (KeyError, TypeError) as error:
        raise StateError(f"{state} was made by another version of edge_tta ({error})") from error
    adapter = Adapter(torch_engine(model.module, config, "cpu", model.input, task=model.task))
    adapter.load(state)
    adapter.prepare(model.input.shape)
    return adapter


def folded_weights(adapter: Adapter, image_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """The state dict of the network with what was learned put in, checked against the adapter.

    The check compares outputs on random images (2, *image_shape) at the adapter's present
    statistics.

    Raises:
        ModelError: the folded network does not compute what the adapter does.
    """
    folded = adapter.folded()
    images = torch.randn((2, *image_shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = adapter.predict(images)
        outputs = folded(images.to(nest.leaves(expected)[0].device))
    worst = furthest(outputs, expected)
    if not worst <= PARITY:
        raise ModelError(f"the folded network differs from the adapter by {worst:.2g} (relative)")
    return {name: value.cpu().contiguous() for name, value in folded.state_dict().items()}


def delta_weights(adapter: Adapter, image_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Only the entries of `folded_weights` that differ from the source network's."""
    source = engine_of(adapter).network.copy().state_dict()
    return {
        name: value
        for name, value in folded_weights(adapter, image_shape).items()
        if not torch.equal(value, source[name].cpu())
    }


def write_weights(path: str | Path, weights: dict[str, Tensor], adapter: Adapter) -> None:
    """A safetensors file that `load_state_dict` takes, with its origin in the header.

    Raises:
        OutputError: it cannot be written.
    """
    metadata = {
        "format": "pt",
        "made_by": "edge_tta",
        "source_sha256": engine_of(adapter).network.fingerprint,
        "method": adapter.config.label,
        "steps": str(adapter.steps),
    }
    write_whole(path, save({n: v.clone() for n, v in weights.items()}, metadata))
