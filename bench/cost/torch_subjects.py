"""Subjects on PyTorch: an adapter of this package, or a peer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.adapters import adapter_of
from bench.cost.case import Case, Work
from bench.cost.subjects import Subject
from bench.methods import prediction_of, predictor_of
from bench.peers import Peer
from bench.untrained import untrained
from edge_tta import heap
from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.engines.base import Backward
from edge_tta.engines.torch import engine_of
from edge_tta.method.stages import OnStage
from edge_tta.models import Model
from edge_tta.network.saved import node_tensors, saved_bytes
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import Images


def load_runtime() -> None:
    """Import PyTorch, which this module has done already."""


def load_model_of(arguments: argparse.Namespace) -> Model:
    """The model of a command line, trained or not."""
    if not arguments.untrained:
        return options.model_from(arguments)
    return untrained(arguments.model, arguments.size or 224)


class Maker:
    """Subjects that share the fixed weights.

    Args:
        model: the command line's options of the network, by name.
    """

    def __init__(self, model: Mapping[str, Any], threads: int | None) -> None:
        heap.keep()
        options.use_threads(threads)
        self._model = load_model_of(argparse.Namespace(**model))
        self._shared: dict[str, SourceNetwork] = {}
        self.spec = self._model.input

    def make(self, case: Case) -> Subject:
        subject = self._peer(case) if case.peer is not None else self._adapting(case)
        self._model.module.cpu()
        heap.trim()
        return subject

    def _peer(self, case: Case) -> Subject:
        device = torch.device(case.device)
        return PeerSubject(Peer(str(case.peer), case.place).build(self._model, device), device)

    def _adapting(self, case: Case) -> Subject:
        adapter = adapter_of(
            self._shared.get(case.device, self._model.module),
            case.config,
            self.spec,
            backward=Backward(case.saved, case.checkpoint_activations),
            device=case.device,
            task=self._model.task,
        )
        self._shared.setdefault(case.device, engine_of(adapter).network)
        return AdapterSubject(adapter, case)


class AdapterSubject:
    """An adapter, in what its case asks for; it adapts in what stands around it."""

    def __init__(self, adapter: Adapter, case: Case) -> None:
        self._adapter = adapter
        self._run: Callable[..., Any] = predictor_of(adapter, case.asked)[0]
        if case.work is Work.PREDICT:
            self._run = prediction_of(adapter, case.asked)
        elif case.work is Work.OBSERVE:
            self._run = partial(self._run, learn=False)
        adapter.prepare(adapter.input_spec.shape)
        self._step = engine_of(adapter).step

    def listen(self, on_stage: OnStage) -> None:
        self._step.on_stage = on_stage

    def frame(self, image: Images) -> None:
        self._run(image)

    def learned(self) -> int:
        return self._adapter.steps

    def sizes(self, image: Images) -> dict[str, int]:
        return sizes(self, image, self._step.program.tensors(), self._adapter.state.values())


class PeerSubject:
    """A peer: `peer(images)` adapts; it has `model`, `optimizer`, and tells `on_stage`."""

    def __init__(self, peer: Any, device: torch.device) -> None:
        self._peer, self._device = peer, device

    def listen(self, on_stage: OnStage) -> None:
        self._peer.on_stage = on_stage

    def frame(self, image: Images) -> None:
        self._peer(torch.from_numpy(image).to(self._device))

    def learned(self) -> int:
        return 0

    def sizes(self, image: Images) -> dict[str, int]:
        module, optimizer = self._peer.model, getattr(self._peer, "optimizer", None)
        state = [p for p in module.parameters() if p.requires_grad]
        if optimizer is not None:
            values = (value for entry in optimizer.state.values() for value in entry.values())
            state += [value for value in values if isinstance(value, Tensor)]
        return sizes(self, image, [*module.parameters(), *module.buffers()], state)


def sizes(
    subject: Subject, image: Images, weights: Iterable[Tensor], state: Iterable[Tensor]
) -> dict[str, int]:
    """Bytes of weights and state, and of what a step on an image saves for backward besides."""
    weight_sizes, state_sizes = _storages(weights), _storages(state)
    attributes: list[Tensor] = []
    subject.listen(lambda stage: attributes.extend(node_tensors() if stage == "forward" else ()))
    saved = saved_bytes(lambda: subject.frame(image), {*weight_sizes, *state_sizes}, attributes)
    return {
        "saved_bytes": saved,
        "state_bytes": sum(state_sizes.values()),
        "weight_bytes": sum(weight_sizes.values()),
    }


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes by address, those that several tensors share once."""
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
