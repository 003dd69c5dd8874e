"""Runs streams of frames through guarded adapters: many together where they can share a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.adapters import adapter_of
from bench.error.streams import Wrong, predictions, shown, streams_at_once
from bench.orders import Stream
from edge_tta.config import MethodConfig, make_config
from edge_tta.executor import Adapts
from edge_tta.guard import Guard
from edge_tta.method.state import State
from edge_tta.method.step import Step
from edge_tta.method.updating import drift_of
from edge_tta.network.frozen import FrozenNetwork
from edge_tta.prepare import InputSpec, Pixels

_LEARNED = {"parameters", "gradient", "first", "second", "position", "updates"}
_LEARNED |= {"kept", "applied", "class_mean", "loss_mean"}
"""What of a state only learning changes."""


def run_guarded(
    network: FrozenNetwork,
    config: MethodConfig,
    spec: InputSpec,
    pictures: Sequence[Pixels],
    labels: npt.NDArray[np.int64],
    streams: Sequence[Stream],
    batch_size: int,
    advance: Callable[[int], None],
) -> tuple[list[Wrong], list[Guard]]:
    """As `run_streams`, each stream through a guard of its own, the one of `edge-tta run`.

    Returns which predictions were wrong, and the guards.
    """
    simple = config.predict == "before" and not config.views
    together = streams_at_once(config, spec, batch_size) if simple else 1
    wrong: list[Wrong] = []
    guards: list[Guard] = []
    for start in range(0, len(streams), together):
        part = streams[start : start + together]
        batch = _Batch(network, config, spec, len(part)) if len(part) > 1 else None
        adapters: list[Adapts] = (
            [adapter_of(network, config, spec)]
            if batch is None
            else [_Slot(batch, index) for index in range(len(part))]
        )
        found, own = _run(batch, adapters, spec, pictures, labels, part, batch_size, advance)
        wrong += found
        guards += own
    return wrong, guards


def _run(
    batch: _Batch | None,
    adapters: Sequence[Adapts],
    spec: InputSpec,
    pictures: Sequence[Pixels],
    labels: npt.NDArray[np.int64],
    streams: Sequence[Stream],
    batch_size: int,
    advance: Callable[[int], None],
) -> tuple[list[Wrong], list[Guard]]:
    guards = [Guard(adapter) for adapter in adapters]
    predicted: list[list[npt.NDArray[np.int64]]] = [[] for _ in streams]
    for start in range(0, len(streams[0].picture), batch_size):
        window = slice(start, start + batch_size)
        images = [
            torch.from_numpy(spec.normalise(np.stack(shown(stream, window, pictures))))
            for stream in streams
        ]
        if batch is not None:
            batch.step(torch.cat(images), [guard.fallen is not None for guard in guards])
        for guard, own, answers in zip(guards, images, predicted, strict=True):
            answers.append(predictions(guard(own)))
        advance(sum(map(len, images)))
    wrong = [
        np.concatenate(answers) != labels[stream.picture]
        for answers, stream in zip(predicted, streams, strict=True)
    ]
    return wrong, guards


class _Batch:
    """Streams of one network in one batch, as `Step` runs them."""

    def __init__(
        self, network: FrozenNetwork, config: MethodConfig, spec: InputSpec, streams: int
    ) -> None:
        program = network.program(spec.shape, below=config.folded_below)
        self._step = Step(program, config, streams)
        self._source = Step(network.program(spec.shape), make_config("source"))
        self._of_source = self._source.initial_state()
        self._device, self._streams = program.device, streams
        self.fresh = self._step.initial_state()
        self.state = {name: value.clone() for name, value in self.fresh.items()}
        self.source_parameters = self._step.source_parameters() if config.trains else None

    def step(self, images: Tensor, on_trial: Sequence[bool]) -> None:
        """All streams' next images; those on trial only calibrate."""
        self._images = images.to(self._device)
        logits, new = self._step.learn(self._images, self.state)
        still = torch.tensor(on_trial, device=self._device)
        if any(on_trial):
            for name in _LEARNED & new.keys():
                shape = (-1,) + (1,) * (new[name].ndim - 1)
                new[name] = torch.where(still.view(shape), self.state[name], new[name])
        # Slots write into it.
        self.state = {name: value.clone() for name, value in new.items()}
        self.logits = logits.view(self._streams, -1, logits.shape[1])
        self._compared: Tensor | None = None

    def compared(self) -> Tensor:
        """The source's logits of the latest images, (streams, N, C)."""
        if self._compared is None:
            found = self._source.frozen_logits(self._images, self._of_source)
            self._compared = found.view(self.logits.shape)
        return self._compared


class _Slot:
    """One stream of a batch, as a guard sees an adapter."""

    def __init__(self, batch: _Batch, index: int) -> None:
        self._batch, self._index = batch, index

    def __call__(self, images: Tensor, *, learn: bool = True) -> Tensor:
        return self._batch.logits[self._index]

    def source_logits(self, images: Tensor) -> Tensor:
        return self._batch.compared()[self._index]

    def frozen_logits(self, images: Tensor) -> Tensor:
        raise NotImplementedError("a stream of a batch does not stand still alone")

    @property
    def state(self) -> State:
        return {name: value[self._index].clone() for name, value in self._batch.state.items()}

    def restore(self, state: State) -> None:
        for name, value in state.items():
            self._batch.state[name][self._index] = value

    def reset(self) -> None:
        self.restore({name: value[self._index] for name, value in self._batch.fresh.items()})

    def drift(self) -> float:
        source = self._batch.source_parameters
        if source is None:
            return 0.0
        return drift_of(self._batch.state["parameters"][self._index], source)

    def save(self, path: str | Path) -> None:
        raise NotImplementedError("a stream of a batch is not saved alone")
