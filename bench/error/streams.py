"""Runs streams of frames through a method: many together where they can share a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.orders import Stream
from edge_tta.config import MethodConfig
from edge_tta.errors import ConfigError
from edge_tta.method.step import Step, foldable
from edge_tta.network.program import Program
from edge_tta.prepare import Images, InputSpec, Pixels
from edge_tta.views import make_views

Wrong = npt.NDArray[np.bool_]
VALUES_AT_ONCE = 15 * 3 * 32 * 32 * 16
"""Bounds the pixels of a shared batch: some 15 CIFAR streams, with views; one at 224 x 224."""


def run_streams(
    program: Program,
    config: MethodConfig,
    spec: InputSpec,
    pictures: Sequence[Pixels],
    labels: npt.NDArray[np.int64],
    streams: Sequence[Stream],
    batch_size: int,
    advance: Callable[[int], None],
) -> list[Wrong]:
    """For each stream which predictions were wrong, (frames,). Each starts from the source.

    Args:
        pictures: by corruption, (n, size, size, 3).
        streams: of equal length.
        advance: told the number of frames done, again and again.

    Raises:
        ConfigError: a method that needs images of the source.
    """
    if config.fisher_weight > 0:
        raise ConfigError(
            "fisher_weight needs images of the source, which a benchmark has not; set it to 0"
        )
    together = streams_at_once(config, spec, batch_size)
    wrong: list[Wrong] = []
    for start in range(0, len(streams), together):
        part = streams[start : start + together]
        wrong += _run(program, config, spec, pictures, labels, part, batch_size, advance)
    return wrong


def streams_at_once(config: MethodConfig, spec: InputSpec, batch_size: int) -> int:
    """How many streams may share a batch, at least one."""
    if not foldable(config):
        return 1
    each = batch_size * (1 + config.views) * math.prod(spec.shape)
    return max(1, VALUES_AT_ONCE // each)


def shown(stream: Stream, window: slice, pictures: Sequence[Pixels]) -> list[Pixels]:
    """The pictures of a part of a stream."""
    chosen = zip(stream.corruption[window], stream.picture[window], strict=True)
    return [pictures[corruption][picture] for corruption, picture in chosen]


def _run(
    program: Program,
    config: MethodConfig,
    spec: InputSpec,
    pictures: Sequence[Pixels],
    labels: npt.NDArray[np.int64],
    streams: Sequence[Stream],
    batch_size: int,
    advance: Callable[[int], None],
) -> list[Wrong]:
    step = Step(program, config, len(streams) if len(streams) > 1 else None)
    state = step.initial_state()
    length = len(streams[0].picture)
    wrong = np.zeros((len(streams), length), bool)
    views = config.views if config.trains else 0
    position = 0
    for count, start in enumerate(range(0, length, batch_size)):
        window = slice(start, min(start + batch_size, length))
        chosen = [frame for stream in streams for frame in shown(stream, window, pictures)]
        images = spec.normalise(np.stack(chosen))
        if views:
            images = _with_views(images, len(streams), views, spec, config.seed, count)
        moved = config.trains and count > 0 and position == 0
        logits, state = step.learn(
            torch.from_numpy(images).to(program.device), state, views=1 + views, moved=moved
        )
        position = (position + step.steps_of(len(images), 1 + views)) % config.accumulation
        predicted = predictions(logits).reshape(len(streams), -1)
        for index, stream in enumerate(streams):
            wrong[index, window] = predicted[index] != labels[stream.picture[window]]
        advance((window.stop - start) * len(streams))
    return list(wrong)


def _with_views(
    images: Images, streams: int, views: int, spec: InputSpec, seed: int, steps: int
) -> Images:
    """Views drawn for each stream as an adapter alone would draw them."""
    return np.concatenate(
        [
            make_views(part, views, spec, np.random.default_rng([seed, steps]))
            for part in np.split(images, streams)
        ]
    )


def predictions(logits: Tensor) -> npt.NDArray[np.int64]:
    result: npt.NDArray[np.int64] = logits.argmax(1).cpu().numpy()
    return result
