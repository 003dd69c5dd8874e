"""What a vector of logits says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_LIKELIEST = 4


@dataclass(frozen=True)
class Reading:
    """A prediction.

    Attributes:
        index: class with the largest logit.
        confidence: its softmax probability, 0..1.
        entropy: of the softmax, in nats.
        entropy_share: the same over its largest possible value, 0..1.
        likeliest: the first few classes with their probabilities, the likeliest first.
    """

    index: int
    confidence: float
    entropy: float
    entropy_share: float
    likeliest: tuple[tuple[int, float], ...] = ()


def read_logits(logits: npt.NDArray[Any]) -> Reading:
    """Reads logits (C,). Where they are not finite, so are confidence and entropy."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = values - values.max()
        exponentials = np.exp(shifted)
        total = exponentials.sum()
        probabilities = exponentials / total
        entropy = float(np.log(total) - (probabilities * shifted)[probabilities > 0].sum())
    if not math.isfinite(float(total)):
        entropy = math.nan
    index = int(np.argmax(values))
    most = math.log(len(values)) if len(values) > 1 else 1.0
    first = np.argsort(-probabilities, kind="stable")[:_LIKELIEST]
    likeliest = tuple((int(k), float(probabilities[k])) for k in first)
    return Reading(index, float(probabilities[index]), entropy, entropy / most, likeliest)


def class_name(index: int, labels: tuple[str, ...] | None) -> str:
    """Name of a class, "class 7" when it has none."""
    return labels[index] if labels is not None and index < len(labels) else f"class {index}"
