"""Measures the error of methods on a labelled set, in given orders and batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.error.intervals import interval_of
from bench.error.rows import ErrorRow, Estimates
from bench.error.streams import Guarded, Outcome, Run, Task
from bench.methods import SOURCE_BATCH, is_filtered
from bench.orders import Order, Stream, make_streams
from bench.peers import Peer
from bench.sets import LabelledSet
from edge_tta.config import MethodConfig
from edge_tta.temporal import Accuracy
from edge_tta.temporal.accuracy import MEMORY

_PARTS = 20


@dataclass(frozen=True)
class Setting:
    """Order of the frames, frames at a time from 1, and seeds of the order."""

    order: Order
    batch_size: int = 1
    seeds: Sequence[int] = (0,)


def measure_error(
    run: Run,
    data: LabelledSet,
    methods: Mapping[str, MethodConfig | Peer],
    setting: Setting,
    *,
    model: str = "",
    advance: Callable[[int], None] = lambda frames: None,
) -> Iterator[list[ErrorRow]]:
    """Yield the rows by corruption of one method after another, in the order given.

    Args:
        run: what `in_processes` gives, of the same data.
        advance: told the number of frames done, stream by stream.
    """
    order, seeds = setting.order, setting.seeds
    streams = [
        stream
        for seed in seeds
        for stream in make_streams(order, data.labels, len(data.corruptions), seed)
    ]
    for label, method in methods.items():
        size = SOURCE_BATCH if method.method == "source" else setting.batch_size
        outcomes = []
        tasks = [Task(method, label, stream, size) for stream in streams]
        for outcome in run(tasks):
            outcomes.append(outcome)
            advance(len(outcome.wrong))
        row: dict[str, Any] = {
            "method": method.method,
            "host": getattr(method, "host", None) if method.method == "nanoadapt" else None,
            "label": label,
            "model": model,
            "data": data.name,
            "severity": data.severity,
            "batch_size": setting.batch_size,
            "order": str(order),
            "seed": seeds[0],
        }
        guarded = [outcome.guarded for outcome in outcomes if outcome.guarded is not None]
        if guarded:
            frames = sum(len(own.weight) for own in guarded)
            row["falls"] = sum(own.falls for own in guarded)
            row["source_share"] = sum(own.source_frames for own in guarded) / frames
        made = [(own.wrong, own.estimates) for own in outcomes]
        yield [
            ErrorRow(
                **row,
                corruption=name,
                **_errors(index, streams, outcomes, len(seeds), order),
                **_guarded(index, streams, guarded, len(seeds)),
                estimates=_estimates(index, streams, made) if is_filtered(label) else None,
            )
            for index, name in enumerate(data.corruptions)
        ]


def _estimates(
    corruption: int,
    streams: Sequence[Stream],
    made: Sequence[tuple[npt.NDArray[Any], Mapping[int, Accuracy | None]]],
) -> Estimates:
    """Return the estimates made at frames of a corruption, beside what they are of.

    made: which predictions of a stream were wrong, NaN where none was made, and the estimates.
        Where none was made of all that one is of, it is left out.
    """
    rows: list[tuple[float | None, ...]] = []
    for stream, (wrong, estimates) in zip(streams, made, strict=True):
        for frames, own in estimates.items():
            latest = wrong[max(frames - MEMORY, 0) : frames]
            latest = latest[~np.isnan(latest)]
            if len(latest) and int(stream.corruption[frames - 1]) == corruption:
                rows.append((1 - float(latest.mean()), *(own or (None,) * 3)))
    return tuple(rows)


def _errors(
    corruption: int,
    streams: Sequence[Stream],
    outcomes: Sequence[Outcome],
    seeds: int,
    order: Order,
) -> dict[str, Any]:
    """Return the errors on the frames of one corruption."""
    wrong = _by_seed(corruption, streams, [own.wrong for own in outcomes], seeds)
    n = sum(map(len, wrong))
    error = sum(int(part.sum()) for part in wrong) / n
    low, high = interval_of(error, n, seeds, order)
    return {
        "n": n,
        "error": error,
        "error_low": low,
        "error_high": high,
        "by_seed": tuple(float(own.mean()) for own in wrong),
        "over_time": _over_time(wrong),
    }


def _guarded(
    corruption: int, streams: Sequence[Stream], guarded: Sequence[Guarded], seeds: int
) -> dict[str, Any]:
    """Return what guards did on the frames of one corruption; nothing without any."""
    if not guarded:
        return {}
    own = _by_seed(corruption, streams, [one.own_wrong for one in guarded], seeds)
    weight = _by_seed(corruption, streams, [one.weight for one in guarded], seeds)
    of_own = [(one.own_wrong, one.own_estimates) for one in guarded]
    of_source = [(one.source_wrong, one.source_estimates) for one in guarded]
    return {
        "own_over_time": _over_time(own),
        "weight_over_time": _over_time(weight),
        "own_estimates": _estimates(corruption, streams, of_own),
        "source_estimates": _estimates(corruption, streams, of_source),
    }


def _by_seed(
    corruption: int, streams: Sequence[Stream], values: Sequence[npt.NDArray[Any]], seeds: int
) -> list[npt.NDArray[Any]]:
    """Return the values (frames,) on one corruption's frames, of each seed's streams together."""
    chosen = [
        own[stream.corruption == corruption] for stream, own in zip(streams, values, strict=True)
    ]
    per_seed = len(streams) // seeds
    return [np.concatenate(chosen[k * per_seed : (k + 1) * per_seed]) for k in range(seeds)]


def _over_time(values: Sequence[npt.NDArray[Any]]) -> tuple[float, ...]:
    """Return means of equal parts, over all seeds; nothing of fewer frames than parts."""
    parts = [
        [float(part.mean()) for part in np.array_split(own, _PARTS)]
        for own in values
        if len(own) >= _PARTS
    ]
    return tuple(np.mean(parts, 0).tolist()) if parts else ()
