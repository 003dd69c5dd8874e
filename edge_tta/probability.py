"""Probabilities of logits, in float64, and what else is read off them."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)


class Threshold(NamedTuple):
    """A largest probability that as many source frames are above as are right, 0..1.

    low, high: the ends of its 95 % interval (`edge_tta.temporal.accuracy.threshold`).
    """

    value: float
    low: float
    high: float


def as_array(logits: Any) -> npt.NDArray[Any]:
    """Return logits as an array, whether they are one, or a tensor on any device."""
    return np.asarray(logits.float().cpu() if hasattr(logits, "cpu") else logits)


def softmax(logits: npt.NDArray[Any]) -> Vector:
    """Probabilities (n, C) of logits (n, C) in float64; NaN where those are not finite."""
    return softmax_in_kind(logits.astype(np.float64))


def softmax_in_kind(logits: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Probabilities (..., C) of logits (..., C) in their own precision, as `softmax`."""
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
        p: npt.NDArray[Real] = exponentials / exponentials.sum(-1, keepdims=True)
    return p


def entropy(p: Vector) -> Vector:
    """Return the entropies (n,) of probabilities (n, C), in nats."""
    nats: Vector = -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)
    return nats


def information(p: Vector) -> float:
    """Return the mutual information of rows and classes of probabilities (n, C), in nats.

    H(mean p) - mean H(p): a network that knows its way is sure of each row, and not of one class
    everywhere.
    """
    return float(entropy(p.mean(0)) - entropy(p).mean())


def log_probabilities(p: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the logarithms of probabilities; of 0, that of 1e-30."""
    log_p: npt.NDArray[Any] = np.log(np.maximum(p, p.dtype.type(1e-30)))
    return log_p


def in_kind(values: npt.NDArray[Any], logits: Any) -> Any:
    """Return values as logits are: an array, or a tensor of their type on their device."""
    return logits.new_tensor(values) if hasattr(logits, "new_tensor") else values
