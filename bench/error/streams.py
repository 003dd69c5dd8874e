"""Streams of frames through adapters, one after another or in several processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.resource_tracker
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.adapters import adapter_of
from bench.arrays import images_of
from bench.methods import predictor_of
from bench.orders import Stream
from bench.peers import Peer
from bench.sets import LabelledSet
from bench.signals import end_silently, held
from edge_tta.adapter import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.config import MethodConfig
from edge_tta.engines.base import Backward
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ConfigError, EdgeTTAError
from edge_tta.guard import Guard
from edge_tta.models import Model
from edge_tta.network.source import SourceNetwork
from edge_tta.probability import as_array
from edge_tta.run.frame_result import FilterReport
from edge_tta.temporal import Accuracy, Filtered
from edge_tta.temporal.accuracy import MEMORY


@dataclass(frozen=True)
class Task:
    """One stream through one method, from the source.

    method: of this package by its configuration, or a peer. label: of the method, with the guard
    and the filter that it runs in. batch_size: frames at a time.
    """

    method: MethodConfig | Peer
    label: str
    stream: Stream
    batch_size: int


@dataclass(frozen=True)
class Guarded:
    """What a guard did in a stream.

    falls: how often it fell back. source_frames: on how many frames it ran the source. own_wrong:
    which predictions of the adapted network alone were wrong, (frames,) bool. weight: of the
    source, as the judge had it after each frame, (frames,). source_wrong: the same as own_wrong of
    the source, NaN where it did not run. own_estimates, source_estimates: of both networks'
    accuracy, as of `Outcome`.
    """

    falls: int
    source_frames: int
    own_wrong: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]
    source_wrong: npt.NDArray[np.float64]
    own_estimates: Mapping[int, Accuracy | None]
    source_estimates: Mapping[int, Accuracy | None]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a stream.

    wrong: which predictions were wrong, (frames,) bool. guarded: None without a guard. estimates:
    of the accuracy, by the number of frames after which they were made: every `MEMORY` or a batch
    more.
    """

    wrong: npt.NDArray[np.bool_]
    guarded: Guarded | None = None
    estimates: Mapping[int, Accuracy | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """Runs tasks on a network and a set of pictures.

    network: of the model. saved: as of `edge_tta.Adapter`. bundles: folders of bundles that run a
    method in PyTorch's place, by its configuration.
    """

    network: SourceNetwork
    model: Model
    data: LabelledSet
    saved: str = "stock"
    bundles: Mapping[MethodConfig, str] = field(default_factory=dict)

    def __call__(self, task: Task) -> Outcome:
        """Return the outcome of one task.

        Raises:
            ConfigError: a method that needs images of the source.
            ModelError: a peer that cannot be run.
        """
        predict, guard = self._predictor(task)
        pictures = list(self.data.corruptions.values())
        stream = task.stream
        wrong, own_wrong, weight, source_wrong = [], [], [], []
        estimates: dict[int, Accuracy | None] = {}
        own_estimates: dict[int, Accuracy | None] = {}
        source_estimates: dict[int, Accuracy | None] = {}
        for start in range(0, len(stream.picture), task.batch_size):
            window = slice(start, start + task.batch_size)
            chosen = zip(stream.corruption[window], stream.picture[window], strict=True)
            shown = np.stack([pictures[c][p] for c, p in chosen])
            images = images_of(shown, self.model.input)
            labels = self.data.labels[stream.picture[window]]
            wrong.append(_wrong(predict(images), labels))
            frames = start + len(labels)
            is_due = frames // MEMORY > start // MEMORY
            if guard is not None and guard.judge is not None:
                own_wrong.append(_wrong(guard.own, labels))
                weight.append(np.full(len(labels), guard.judge.weight))
                source_wrong.append(
                    np.full(len(labels), np.nan)
                    if guard.compared is None
                    else _wrong(guard.compared, labels)
                )
                if is_due:
                    own_estimates[frames] = guard.judge.accuracy
                    source_estimates[frames] = guard.judge.source_accuracy
            if isinstance(predict, Filtered) and is_due:
                estimates[frames] = FilterReport.of(predict, guard).accuracy
        guarded = None
        if guard is not None:
            guarded = Guarded(
                guard.falls,
                guard.source_frames,
                np.concatenate(own_wrong),
                np.concatenate(weight),
                np.concatenate(source_wrong),
                own_estimates,
                source_estimates,
            )
        return Outcome(np.concatenate(wrong), guarded, estimates)

    def _predictor(self, task: Task) -> tuple[Callable[[Any], Any], Guard | None]:
        """Return what answers images, from the source, and the guard in it."""
        method = task.method
        if isinstance(method, Peer):
            device = self.network.device
            peer = method.build(self.model, device)
            return lambda images: peer(torch.from_numpy(images).to(device)), None
        if method.loss.fisher_weight > 0:
            raise ConfigError(
                "fisher_weight needs images of the source, which a benchmark has not; set it to 0"
            )
        bundle = self.bundles.get(method)
        adapter = (
            adapter_of(self.network, method, self.model.input, Backward(self.saved))
            if bundle is None
            else Adapter(OnnxEngine(Bundle(bundle, threads=torch.get_num_threads())))
        )
        return predictor_of(adapter, task.label, self.model.sure_above)


def _wrong(logits: Any, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which predictions, logits (frames, K), are wrong, (frames,)."""
    wrong: npt.NDArray[np.bool_] = as_array(logits).argmax(1) != labels
    return wrong


class ProcessDiedError(EdgeTTAError):
    """A process at work that ended before its task."""


Run = Callable[[Sequence[Task]], Iterable[Outcome]]
"""Outcomes of tasks, in their order."""


@contextlib.contextmanager
def in_processes(make_runner: Callable[[], Runner], processes: int) -> Iterator[Run]:
    """Yield what runs tasks in processes of one thread each, as `Runner` does.

    Args:
        make_runner: makes each process's own; it is pickled.
        processes: how many; 1: none, the tasks run here.

    Raises:
        ProcessDiedError: on a task, one has ended before it.
    """
    if processes == 1:
        runner = make_runner()
        yield lambda tasks: map(runner, tasks)
        return
    with held():  # a hang-up would end it before what it looks after
        multiprocessing.resource_tracker.ensure_running()
    with ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
        initargs=(make_runner,),
    ) as pool:
        try:
            yield partial(_outcomes, pool)
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()  # a task may take minutes
            raise


def _outcomes(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> Iterator[Outcome]:
    # Not pool.map: it cancels what is left, and a pool whose processes are ended then complains.
    try:
        with held():  # it starts processes
            futures = [pool.submit(_run, task) for task in tasks]
        yield from (future.result() for future in futures)
    except BrokenProcessPool:
        raise ProcessDiedError(
            "a process at work has ended before its task; where nothing above says why, the "
            "system ended it for want of memory: take fewer --threads"
        ) from None


_runner: Runner | None = None  # a process's own


def _prepare(make_runner: Callable[[], Runner]) -> None:
    global _runner
    end_silently()
    torch.set_num_threads(1)
    # What there is to say of the network, the command's own process has said.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        _runner = make_runner()


def _run(task: Task) -> Outcome:
    assert _runner is not None
    return _runner(task)
