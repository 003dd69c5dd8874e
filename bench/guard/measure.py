"""The error of methods, with and without the guard, on streams built to break them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.adapters import adapter_of
from bench.guard.streams import Part, make_stream
from bench.sets import LabelledSet
from edge_tta.config import MethodConfig
from edge_tta.guard import Guard
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec

_SOURCE_BATCH = 64
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


def measure_guard(
    network: SourceNetwork,
    spec: InputSpec,
    data: LabelledSet,
    methods: Mapping[str, tuple[MethodConfig, bool]],
    streams: Sequence[str],
    bases: Sequence[str],
    *,
    frames: int,
    seeds: Sequence[int] = (0,),
    before: bool = True,
    model: str = "",
    advance: Callable[[int], None] = lambda frames: None,
) -> Iterator[list[GuardRow]]:
    """Rows by part, for one stream and method after another.

    methods: configuration and whether it is guarded, by label. Frames come one at a time.
    """
    for name in streams:
        for base in bases:
            for seed in seeds:
                parts = make_stream(name, base, data, frames, seed, before=before)
                for label, (config, guarded) in methods.items():
                    rows = []
                    for part, wrong, counted in _run(
                        network, spec, config, guarded, parts, advance
                    ):
                        known = part.labels is not None
                        cuts = range(0, len(wrong), BUCKET) if known else ()
                        along = tuple(float(wrong[cut : cut + BUCKET].mean()) for cut in cuts)
                        rows.append(
                            GuardRow(
                                method=config.method,
                                label=label,
                                model=model,
                                data=data.name,
                                stream=name,
                                base=base,
                                part=part.name,
                                seed=seed,
                                n=len(wrong),
                                stream_error=float(wrong.mean()) if known else None,
                                along=along,
                                falls=counted[0] if guarded else None,
                                source_share=counted[1] / len(wrong) if guarded else None,
                            )
                        )
                    yield rows


def _run(
    network: SourceNetwork,
    spec: InputSpec,
    config: MethodConfig,
    guarded: bool,
    parts: Sequence[Part],
    advance: Callable[[int], None],
) -> Iterator[tuple[Part, np.ndarray[Any, np.dtype[np.bool_]], tuple[int, int]]]:
    """Each part, which predictions were wrong, and the guard's falls and runs of the source."""
    adapter = adapter_of(network, config, spec)
    guard = Guard(adapter) if guarded else None
    predict = guard or adapter
    size = _SOURCE_BATCH if config.method == "source" else 1
    for part in parts:
        falls, ran = (guard.falls, guard.source_frames) if guard is not None else (0, 0)
        predicted = []
        for start in range(0, len(part.pictures), size):
            images = spec.normalise(part.pictures[start : start + size])
            predicted.append(predict(images).argmax(1).cpu().numpy())
            advance(len(images))
        classes = np.concatenate(predicted)
        wrong = classes != part.labels if part.labels is not None else np.zeros(len(classes), bool)
        counted = (guard.falls - falls, guard.source_frames - ran) if guard is not None else (0, 0)
        yield part, wrong, counted
