"""Rows of a network as trained and restored: how it came back, and how it adapts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.dense.measure import Corruption, measure_dense
from bench.dense.measure import Setting as Pictures
from bench.dense.sets import DenseSet
from bench.error import Runner, Setting, measure_error
from bench.orders import Order
from bench.restored.variants import Variant
from bench.sets import LabelledSet
from edge_tta.config import MethodConfig


@dataclass(frozen=True)
class Streams:
    """Streams that every variant runs over.

    Attributes:
        data: of a classifier pictures by corruption, of others plain ones.
        orders: of a classifier's frames. batch_size: of these at a time. corruptions: of others.
        ignored: numbers in masks that are no label.
    """

    data: LabelledSet | DenseSet
    orders: Sequence[Order] = ()
    batch_size: int = 1
    corruptions: Sequence[Corruption] = ()
    ignored: Sequence[int] = ()
    seed: int = 0


def variant_row(variant: Variant, model: str) -> dict[str, Any]:
    """Return how a network came back; of one as trained, what it is compared with."""
    return {
        "model": model,
        "source_frames": variant.source_frames,
        "sites": variant.sites,
        "difference": variant.difference,
        "seconds": variant.seconds,
    }


def measure_variant(
    variant: Variant,
    model: str,
    methods: Mapping[str, MethodConfig],
    streams: Streams,
    bundles: Mapping[MethodConfig, str],
    advance: Callable[[int], None] = lambda frames: None,
) -> Iterator[dict[str, Any]]:
    """Yield rows as `bench error` writes them, each with the number of source frames.

    bundles: as of `bench.error.Runner`.
    """
    data, about = streams.data, {"source_frames": variant.source_frames}
    spec = variant.model.input
    if isinstance(data, LabelledSet):
        run = partial(map, Runner(variant.network, variant.model, data, bundles=bundles))
        for order in streams.orders:
            setting = Setting(order, streams.batch_size, (streams.seed,))
            for rows in measure_error(run, data, methods, setting, model=model, advance=advance):
                yield from (row.as_dict() | about for row in rows)
        return
    for row in measure_dense(
        variant.network,
        spec,
        data,
        methods,
        Pictures(streams.corruptions, streams.ignored, streams.seed),
        model=model,
        advance=lambda: advance(1),
    ):
        yield row | about
