"""The error of methods, with and without the guard, on streams built to break them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.adapters import adapter_of
from bench.guard.streams import Part, make_stream
from bench.methods import SOURCE_BATCH, predictor_of
from bench.sets import LabelledSet
from edge_tta.config import MethodConfig
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec

BUCKET = 100
"""Frames that the errors along a part are over."""


@dataclass(frozen=True)
class GuardRow:
    """Error of one method on one part of a stream.

    Attributes:
        part: before, during or after.
        n: frames. stream_error: 0..1 over them; None: they have no labels.
        along: the error of each 100 frames.
        falls: how often the guard fell back in this part; None: no guard.
        source_share: of the frames, on which it ran the source network too.
    """

    method: str
    label: str
    model: str
    data: str
    stream: str
    base: str
    part: str
    seed: int
    n: int
    stream_error: float | None
    along: tuple[float, ...]
    falls: int | None
    source_share: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return asdict(self)


@dataclass(frozen=True)
class Subject:
    """A network, its input, and its name in reports."""

    network: SourceNetwork
    spec: InputSpec
    model: str = ""


@dataclass(frozen=True)
class Streams:
    """Streams to measure on: each of `names` with each of `bases` and seeds.

    frames, before: as of `make_stream`.
    """

    names: Sequence[str]
    bases: Sequence[str]
    frames: int
    seeds: Sequence[int] = (0,)
    before: bool = True


def measure_guard(
    subject: Subject,
    data: LabelledSet,
    methods: Mapping[str, MethodConfig],
    streams: Streams,
    *,
    advance: Callable[[int], None] = lambda frames: None,
) -> Iterator[list[GuardRow]]:
    """Yield the rows by part of one stream and method after another, one frame at a time.

    Args:
        methods: configurations by label.
        advance: told the number of frames done.
    """
    for name, base, seed in itertools.product(streams.names, streams.bases, streams.seeds):
        parts = make_stream(name, base, data, streams.frames, seed, before=streams.before)
        for label, config in methods.items():
            rows = []
            for part, wrong, guarded in _run(subject, config, label, parts, advance):
                labelled = part.labels is not None
                cuts = range(0, len(wrong), BUCKET) if labelled else ()
                rows.append(
                    GuardRow(
                        method=config.method,
                        label=label,
                        model=subject.model,
                        data=data.name,
                        stream=name,
                        base=base,
                        part=part.name,
                        seed=seed,
                        n=len(wrong),
                        stream_error=float(wrong.mean()) if labelled else None,
                        along=tuple(float(wrong[cut : cut + BUCKET].mean()) for cut in cuts),
                        falls=guarded.get("falls"),
                        source_share=guarded.get("source_share"),
                    )
                )
            yield rows


def _run(
    subject: Subject,
    config: MethodConfig,
    label: str,
    parts: Sequence[Part],
    advance: Callable[[int], None],
) -> Iterator[tuple[Part, npt.NDArray[np.bool_], dict[str, Any]]]:
    """Yield each part, which predictions were wrong, and what the guard did, if there is one.

    A part without labels has no wrong predictions.
    """
    adapter = adapter_of(subject.network, config, subject.spec)
    predict, guard = predictor_of(adapter, label)
    size = SOURCE_BATCH if config.method == "source" else 1
    for part in parts:
        falls, ran = (guard.falls, guard.source_frames) if guard is not None else (0, 0)
        predicted = []
        for start in range(0, len(part.pictures), size):
            images = subject.spec.normalise(part.pictures[start : start + size])
            predicted.append(predict(images).argmax(1).cpu().numpy())
            advance(len(images))
        classes = np.concatenate(predicted)
        wrong = classes != part.labels if part.labels is not None else np.zeros(len(classes), bool)
        guarded = {}
        if guard is not None:
            share = (guard.source_frames - ran) / len(wrong)
            guarded = {"falls": guard.falls - falls, "source_share": share}
        yield part, wrong, guarded
