"""95 % intervals of an error and of a mean over corruptions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.error.rows import ErrorRow
from bench.orders import Order, parse_order
from bench.sets import CLEAN
from edge_tta.temporal.accuracy import Z95, wilson

_T95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""Student's t for 1 to 10 degrees of freedom, two-sided 95 %."""


@dataclass(frozen=True)
class Mean:
    """Mean error over corruptions, 0..1, with its 95 % interval.

    Attributes:
        corruptions: the names that it is over.
    """

    error: float
    low: float
    high: float
    corruptions: tuple[str, ...]


def interval_of(share: float, frames: int, seeds: int, order: Order) -> tuple[float, float]:
    """Wilson's interval of a share over so many frames of all seeds together.

    It counts different pictures, not frames: more seeds, or a picture that stands still, bring no
    new ones.
    """
    pictures = frames / seeds / order.repeats
    return wilson(share, pictures)


def student(freedom: int) -> float:
    """Two-sided 95 % point of Student's t, to 1e-4 (Cornish and Fisher's expansion above 10)."""
    if freedom < 1:
        raise ValueError(f"freedom must be 1 at least, got {freedom}")
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z, v = Z95, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def mean_of(rows: Sequence[ErrorRow]) -> Mean:
    """Mean of one method's rows over the corruptions; over clean pictures if there is nothing else.

    Two things make it uncertain, and their squares add:

    - the pictures. The corruptions' intervals (`interval_of`) are combined as independent ones
      (MOVER, Zou and Donner, 2008): low = mean - sqrt(sum (error_k - low_k)^2) / K. The same
      pictures come in every corruption, so for other pictures this is rather too narrow; for the
      difference of two methods on the same pictures it is rather too wide.
    - the order, known from two seeds on: Student's t interval of the seeds' means.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("rows must not be empty")
    chosen = [row for row in rows if row.corruption != CLEAN] or list(rows)
    error = sum(row.error for row in chosen) / len(chosen)
    below = above = 0.0
    for row in chosen:
        low, high = interval_of(row.error, row.n, len(row.by_seed), parse_order(row.order))
        below, above = below + (row.error - low) ** 2, above + (high - row.error) ** 2
    order = _half_width_over_seeds([row.by_seed for row in chosen])
    return Mean(
        error,
        max(0.0, error - math.hypot(math.sqrt(below) / len(chosen), order)),
        min(1.0, error + math.hypot(math.sqrt(above) / len(chosen), order)),
        tuple(row.corruption for row in chosen),
    )


def _half_width_over_seeds(by_seed: Sequence[Sequence[float]]) -> float:
    """Half of Student's interval of the seeds' means over corruptions; 0 for a single seed."""
    count = len(by_seed[0])
    if count < 2 or any(len(errors) != count for errors in by_seed):
        return 0.0
    means = [statistics.fmean(errors) for errors in zip(*by_seed, strict=True)]
    return student(count - 1) * statistics.stdev(means) / math.sqrt(count)
