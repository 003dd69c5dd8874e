"""Probabilities of logits, and their entropy, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def as_array(values: Any) -> Array:
    """Return values as NumPy's, whether they are that, or a tensor on any device."""
    return np.asarray(values.detach().float().cpu() if hasattr(values, "cpu") else values)


def softmax(logits: Array) -> npt.NDArray[np.float64]:
    """Return probabilities (..., K) of logits (..., K), float64; NaN where they are not finite."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(values - values.max(-1, keepdims=True))
        found: npt.NDArray[np.float64] = exponentials / exponentials.sum(-1, keepdims=True)
    return found


def entropy(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the entropy of probabilities (..., K), in nats, (...)."""
    found: npt.NDArray[np.float64] = -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)
    return found
