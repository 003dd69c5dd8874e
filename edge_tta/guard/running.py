"""Running means of what is seen of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


class Running:
    """Exponential mean over `memory` values, an even mean until so many have come.

    The values may be numbers or vectors of one length.
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.count = 0
        self.value: Any = 0.0

    def add(self, value: Any) -> None:
        """One more."""
        self.count += 1
        self.value = self.value + (value - self.value) / min(self.count, self.memory)


def as_array(logits: Any) -> npt.NDArray[Any]:
    """Logits as numpy's, whether they are that, or a tensor on any device."""
    return np.asarray(logits.float().cpu() if hasattr(logits, "cpu") else logits)


def softmax(logits: npt.NDArray[Any]) -> Vector:
    """Probabilities (n, C) of logits (n, C) in float64; NaN where those are not finite."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(values - values.max(-1, keepdims=True))
        found: Vector = exponentials / exponentials.sum(-1, keepdims=True)
    return found


def entropy(p: Vector) -> Vector:
    """Of probabilities (n, C), in nats, (n,)."""
    found: Vector = -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)
    return found
