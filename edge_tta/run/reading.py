"""Reading of a vector of logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.probability import entropy, softmax

_LIKELIEST = 4


@dataclass(frozen=True)
class Classes:
    """The network's classes: how many, and their names where they have any."""

    count: int
    names: tuple[str, ...] | None = None

    def name(self, index: int) -> str:
        """Name of a class, "class 7" when it has none."""
        names = self.names or ()
        return names[index] if index < len(names) else f"class {index}"


@dataclass(frozen=True)
class Reading:
    """A prediction.

    Attributes:
        index, label: class with the largest logit, and its name.
        confidence: its softmax probability, 0..1.
        entropy: of the softmax, in nats.
        entropy_share: the same over its largest possible value, 0..1.
        likeliest: names of the first few classes with their probabilities, the likeliest first.
    """

    index: int
    label: str
    confidence: float
    entropy: float
    entropy_share: float
    likeliest: tuple[tuple[str, float], ...]


def read_logits(logits: npt.NDArray[Any], classes: Classes) -> Reading:
    """Reads logits (C,). Where they are not finite, so are confidence and entropy."""
    p = softmax(logits)
    index = int(np.argmax(logits))
    nats = float(entropy(p)) + 0.0  # never -0.0
    first = np.argsort(-p, kind="stable")[:_LIKELIEST]
    return Reading(
        index,
        classes.name(index),
        float(p[index]),
        nats,
        nats / math.log(max(len(p), 2)),
        tuple((classes.name(int(k)), float(p[k])) for k in first),
    )
