"""What a case runs: an adapter of this package, or a peer, behind one small interface."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.cost.case import Case
from bench.cost.peers import PEERS, OnStage
from bench.cost.repositories import REPOSITORIES
from bench.cost.untrained import untrained
from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.errors import ConfigError
from edge_tta.guard import Guard
from edge_tta.models import Model
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import Images


class Subject(Protocol):
    """Adapts to one frame at a time.

    A backend plugs in by having these: `edge_tta.Adapter` is the torch one.
    """

    def listen(self, on_stage: OnStage) -> None:
        """From now on `on_stage` is told each stage's name when it has ended."""

    def frame(self, image: Images) -> None:
        """Adapts to an image (1, 3, size, size) and predicts."""

    def held(self) -> dict[str, list[Tensor]]:
        """The tensors that are there between frames: `weight` and `state`."""


def load_model_of(arguments: argparse.Namespace) -> Model:
    """The model of a command line, trained or not."""
    if not arguments.untrained:
        return options.model_from(arguments)
    return untrained(arguments.model, arguments.size or 224)


def make_subject(
    case: Case, model: Model, shared: dict[str, SourceNetwork] | None = None
) -> Subject:
    """The subject of a case.

    Args:
        shared: frozen networks by device, to be shared among adapters; filled here.

    Raises:
        ConfigError: a backend that this model cannot run on.
        ModelError: a network that cannot be adapted, a repository that cannot be used.
    """
    device = torch.device(case.device)
    if case.peer is not None:
        if case.place is None:
            return _Peer(PEERS[case.peer](model.module, device), device)
        return _Peer(REPOSITORIES[case.peer](Path(case.place), model.module, device), device)
    if case.backend != "torch":
        raise ConfigError(
            f"--backend {case.backend} runs exported bundles only, and this model is an nn.Module; "
            "make a bundle first (edge-tta export bundle) and give its folder as --model"
        )
    return _Adapting(case, model, {} if shared is None else shared)


class _Adapting:
    def __init__(self, case: Case, model: Model, shared: dict[str, SourceNetwork]) -> None:
        given: Any = shared.get(case.device, model.module)
        fields = {k: v for k, v in case.fields.items() if k not in ("method", "host")}
        self._adapter = Adapter(
            given,
            str(case.fields["method"]),
            str(case.fields["host"]),
            device=case.device,
            input_spec=model.input,
            saved=case.saved,
            activation_checkpointing=case.checkpoint_activations,
            **fields,
        )
        self._run = Guard(self._adapter) if case.guarded else self._adapter
        shared.setdefault(case.device, self._adapter.network)
        self._step = self._adapter.prepare(model.input.shape)

    def listen(self, on_stage: OnStage) -> None:
        self._step.on_stage = on_stage

    def frame(self, image: Images) -> None:
        self._run(image)

    def held(self) -> dict[str, list[Tensor]]:
        return {"weight": self._step.program.tensors(), "state": list(self._adapter.state.values())}


class _Peer:
    def __init__(self, peer: Any, device: torch.device) -> None:
        self._peer, self._device = peer, device

    def listen(self, on_stage: OnStage) -> None:
        self._peer.on_stage = on_stage

    def frame(self, image: Images) -> None:
        self._peer(torch.from_numpy(image).to(self._device))

    def held(self) -> dict[str, list[Tensor]]:
        module: nn.Module = self._peer.model
        moments = [
            value
            for optimizer in (getattr(self._peer, "optimizer", None),)
            if optimizer is not None
            for entry in optimizer.state.values()
            for value in entry.values()
            if isinstance(value, Tensor)
        ]
        trained = [p for p in module.parameters() if p.requires_grad]
        weights = [*module.parameters(), *module.buffers()]
        return {"weight": weights, "state": [*trained, *moments]}


def addresses(tensors: Iterable[Tensor]) -> set[int]:
    """Of their storages."""
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def distinct_bytes(tensors: Iterable[Tensor]) -> int:
    """Of tensors, those that share their storage counted once."""
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(sizes.values())
