"""Measures the error of methods on a labelled set, in given orders and batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bench.error.guarded import run_guarded
from bench.error.intervals import interval_of
from bench.error.rows import ErrorRow
from bench.error.streams import run_streams
from bench.orders import Order, make_streams
from bench.sets import LabelledSet
from edge_tta.config import MethodConfig
from edge_tta.errors import ConfigError
from edge_tta.network.frozen import FrozenNetwork
from edge_tta.network.program import Program
from edge_tta.prepare import InputSpec

_SOURCE_BATCH = 64
_PARTS = 20


def measure_error(
    program: Program,
    spec: InputSpec,
    data: LabelledSet,
    methods: Mapping[str, MethodConfig],
    *,
    order: Order,
    batch_size: int = 1,
    seeds: Sequence[int] = (0,),
    model: str = "",
    guarded: Collection[str] = (),
    network: FrozenNetwork | None = None,
    advance: Callable[[int], None] = lambda frames: None,
) -> Iterator[list[ErrorRow]]:
    """Rows by corruption for one method after another, in the order given.

    guarded: labels of the methods that run in a guard, which needs the `network` of `program`, as
    do methods that fold its lower layers.
    """
    names = list(data.corruptions)
    pictures = [data.corruptions[name] for name in names]
    for label, config in methods.items():
        streams = [
            stream
            for seed in seeds
            for stream in make_streams(order, data.labels, len(names), seed)
        ]
        # A frozen network predicts the same in any batch.
        size = _SOURCE_BATCH if config.method == "source" else batch_size
        of_guard: dict[str, Any] = {}
        if label in guarded:
            if network is None:
                raise ConfigError(f"{label} needs the network that the program is of")
            wrong, guards = run_guarded(
                network, config, spec, pictures, data.labels, streams, size, advance
            )
            ran = sum(guard.source_frames for guard in guards)
            of_guard = {
                "falls": sum(guard.falls for guard in guards),
                "source_share": ran / sum(guard.frames for guard in guards),
            }
        else:
            own_program = program
            if config.folded_below:
                if network is None:
                    raise ConfigError(f"{label} needs the network that the program is of")
                saved = program.precision or "stock"
                own_program = network.program(spec.shape, saved, config.folded_below)
            wrong = run_streams(
                own_program, config, spec, pictures, data.labels, streams, size, advance
            )
        per_seed = len(streams) // len(seeds)
        rows = []
        for index, name in enumerate(names):
            by_seed, all_wrong, n = [], 0, 0
            parts: list[list[float]] = []
            for k in range(len(seeds)):
                own = range(k * per_seed, (k + 1) * per_seed)
                found = np.concatenate([wrong[i][streams[i].corruption == index] for i in own])
                by_seed.append(float(found.mean()))
                if len(found) >= _PARTS:
                    parts.append([float(p.mean()) for p in np.array_split(found, _PARTS)])
                all_wrong, n = all_wrong + int(found.sum()), n + len(found)
            low, high = interval_of(all_wrong / n, n, len(seeds), order)
            rows.append(
                ErrorRow(
                    method=config.method,
                    host=config.host if config.method == "nanoadapt" else None,
                    label=label,
                    model=model,
                    data=data.name,
                    corruption=name,
                    severity=data.severity,
                    batch_size=batch_size,
                    order=str(order),
                    seed=seeds[0],
                    n=n,
                    error=all_wrong / n,
                    error_low=low,
                    error_high=high,
                    by_seed=tuple(by_seed),
                    over_time=tuple(np.mean(parts, 0).tolist()) if parts else (),
                    **of_guard,
                )
            )
        yield rows
