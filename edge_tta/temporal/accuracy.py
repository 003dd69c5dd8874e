"""Accuracy without labels: how often the answers agree with what the filter believes.

    accuracy of the frames alone = mean of belief_k, k the class that the frame alone says
    accuracy of the answers      = mean of max_k belief_k

Where neighbouring frames tell something, the belief knows more than any one frame, and its
probabilities are nearly honest: docs/background/temporal.md has the errors of the estimate. In
random order the belief is the network's own certainty, which proves nothing: no estimate then.

Frames that show one thing are right or wrong together, so that the interval (Wilson, 1927) counts
classes' stays, not frames. A network that is wrong about a thing for as long as it is seen is
believed all the same. Where a second network sees the frames too, the two cannot both be right
when they differ, and estimates that say so are taken back (`edge_tta.guard.judge`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_tta.temporal.class_filter import Belief
from edge_tta.temporal.running import Running

MEMORY = 300
"""Frames that an estimate is over, unless told otherwise."""

LEAST_FRAMES = 100
MOST_ALONE = 0.5
"""Weight of taking frames alone, from which on there is no estimate."""

VAGUE = 0.4
"""Width of an interval that is told without its middle."""

_Z = 1.959964


class Accuracy(NamedTuple):
    """Estimated share of right answers with its 95 % interval, each 0..1."""

    value: float
    low: float
    high: float


def doubted(accuracy: Accuracy | None, by: float) -> Accuracy | None:
    """Return an estimate where it is known to be too high by up to so much; None: unknown.

    Half of it is taken off: it belongs to this network or to another, with equal right.
    """
    if accuracy is None:
        return None
    return Accuracy(max(accuracy.value - by / 2, 0.0), max(accuracy.low - by, 0.0), accuracy.high)


class AccuracyEstimate:
    """Estimates the accuracy over the latest frames.

    Args:
        memory: how many, from 1: an even mean of so many, then an exponential one.
    """

    def __init__(self, memory: float = MEMORY) -> None:
        self._memory = memory
        self._frame, self._answer = Running(memory), Running(memory)
        self._alone, self._stay = Running(memory), Running(memory)

    def add(self, belief: Belief, predicted: int) -> None:
        """Add a frame: what is believed after it, and the class that it says alone."""
        self._frame.add(float(belief.p[predicted]))
        self._answer.add(float(belief.p.max()))
        self._alone.add(belief.alone)
        self._stay.add(belief.stay)

    @property
    def alone(self) -> float:
        """Mean weight of taking frames alone, 0..1; 1 before the first frame."""
        return float(self._alone.value) if self._alone.count else 1.0

    @property
    def mean_of_frames(self) -> float:
        """Mean of what is believed of the classes that frames say alone, known or not."""
        return float(self._frame.value)

    @property
    def of_frames(self) -> Accuracy | None:
        """Accuracy of what frames say alone; None: unknown."""
        return self._estimate(self._frame)

    @property
    def of_answers(self) -> Accuracy | None:
        """Accuracy of the filtered answers; None: unknown."""
        return self._estimate(self._answer)

    def _estimate(self, mean: Running) -> Accuracy | None:
        if mean.count < LEAST_FRAMES or self.alone > MOST_ALONE:
            return None
        value = min(float(mean.value), 1.0)
        low, high = wilson(value, min(mean.count, self._memory) / self._stay.value)
        return Accuracy(value, low, high)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of n independent trials (Wilson, 1927)."""
    spread = _Z * _Z / n
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def in_words(accuracy: Accuracy | None) -> str:
    """Return an estimate with its interval, in per cent."""
    if accuracy is None:
        return "unknown"
    low, high = (f"{100 * bound:.0f}" for bound in (accuracy.low, accuracy.high))
    if accuracy.high - accuracy.low > VAGUE:
        return f"somewhere from {low} to {high}%"
    return f"{accuracy.value:.1%} ({low} to {high})"
