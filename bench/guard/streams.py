"""Streams that are built to break adaptation: before, during and after.

Before: `AROUND` pictures in random order. During: what is to break it. After: `AROUND` other
pictures in random order, on which adaptation is to be as before. Streams that begin with what
breaks them leave "before" out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.sets import LabelledSet
from edge_tta.errors import SourceError
from edge_tta.prepare import Pixels

AROUND = 400
"""Frames before and after."""
SWITCH_EVERY = 50
STREAMS = ("one-class", "noise", "black", "switching", "high-contrast")


@dataclass(frozen=True)
class Part:
    """Frames of one kind: pictures (n, size, size, 3), labels (n,), None where there are none."""

    name: str
    pictures: Pixels
    labels: npt.NDArray[np.int64] | None


def make_stream(
    name: str, base: str, data: LabelledSet, frames: int, seed: int, *, before: bool
) -> list[Part]:
    """The parts of one of STREAMS.

    Args:
        base: the corruption that the pictures around, and of one class, are of.
        frames: during; pictures come again where the set has fewer.
        seed: of the order; `one-class` shows the class `seed` modulo their number.
        before: whether there is a part before.

    Raises:
        SourceError: the set is too small.
    """
    if len(data) < 2 * AROUND:
        raise SourceError(
            f"{data.name} has {len(data)} pictures; the guard's streams need {2 * AROUND}"
        )
    rng = np.random.default_rng([seed, STREAMS.index(name)])
    order = rng.permutation(len(data))
    around = [
        Part(part, data.corruptions[base][chosen], data.labels[chosen])
        for part, chosen in (("before", order[:AROUND]), ("after", order[AROUND : 2 * AROUND]))
    ]
    during = _DURING[name](base, data, frames, seed, rng)
    return [*around[: int(before)], during, around[1]]


def _one_class(
    base: str, data: LabelledSet, frames: int, seed: int, rng: np.random.Generator
) -> Part:
    classes = np.unique(data.labels)
    members = np.flatnonzero(data.labels == classes[seed % len(classes)])
    chosen = rng.choice(members, frames)
    return Part("during", data.corruptions[base][chosen], data.labels[chosen])


def _noise(base: str, data: LabelledSet, frames: int, seed: int, rng: np.random.Generator) -> Part:
    shape = (frames, *data.corruptions[base].shape[1:])
    return Part("during", rng.integers(0, 256, shape, np.uint8), None)


def _black(base: str, data: LabelledSet, frames: int, seed: int, rng: np.random.Generator) -> Part:
    return Part("during", np.zeros((frames, *data.corruptions[base].shape[1:]), np.uint8), None)


def _switching(
    base: str, data: LabelledSet, frames: int, seed: int, rng: np.random.Generator
) -> Part:
    """Another corruption, drawn, every SWITCH_EVERY frames."""
    names = list(data.corruptions)
    chosen = np.resize(rng.permutation(len(data)), frames)
    pictures = np.empty((frames, *data.corruptions[base].shape[1:]), np.uint8)
    for start in range(0, frames, SWITCH_EVERY):
        part = slice(start, start + SWITCH_EVERY)
        pictures[part] = data.corruptions[names[rng.integers(len(names))]][chosen[part]]
    return Part("during", pictures, data.labels[chosen])


def _high_contrast(
    base: str, data: LabelledSet, frames: int, seed: int, rng: np.random.Generator
) -> Part:
    """Four times the contrast, and a checkerboard of single pixels over it."""
    chosen = np.resize(rng.permutation(len(data)), frames)
    pictures = data.corruptions[base][chosen].astype(np.float32)
    means = pictures.mean((1, 2, 3), keepdims=True)
    rows, columns = np.indices(pictures.shape[1:3])
    board = np.where((rows + columns) % 2, 24.0, -24.0)[None, :, :, None]
    harsh = np.clip(means + 4 * (pictures - means) + board, 0, 255).astype(np.uint8)
    return Part("during", harsh, data.labels[chosen])


_DURING = {
    "one-class": _one_class,
    "noise": _noise,
    "black": _black,
    "switching": _switching,
    "high-contrast": _high_contrast,
}
