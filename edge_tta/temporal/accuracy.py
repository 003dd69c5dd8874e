"""Accuracy without labels: how often the answers agree with what the filter believes.

    accuracy of the frames alone = mean of belief_k, k the class that the frame alone says
    accuracy of the answers      = mean of max_k belief_k

Where neighbouring frames tell something, the belief knows more than any one frame, and its
probabilities are nearly honest: docs/background/temporal.md has the errors of the estimate.

In random order the belief is the network's own certainty, which proves nothing by itself. Where the
accuracy on source frames is known, a threshold is: as many of them are surer than it as are right.
Then (average thresholded confidence; Garg et al., ICLR 2022)

    accuracy = share of frames whose largest probability is above the threshold

which holds for a network that adapts. Without a threshold there is no estimate in random order.
Of some hundred source frames few are wrong, so that the threshold has an interval of its own: in n
frames the number of surer ones less that of right ones has the variance n P(one and not the other).

Frames that show one thing are right or wrong together, so that the interval (Wilson, 1927) counts
classes' stays, not frames. A network that is wrong about a thing for as long as it is seen is
believed all the same. Where a second network sees the frames too, the two cannot both be right
when they differ, and estimates that say so are taken back (`edge_tta.guard.judge`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edge_tta.probability import Threshold, Vector
from edge_tta.temporal.class_filter import Belief
from edge_tta.temporal.running import Running

MEMORY = 300
"""Frames that an estimate is over, unless told otherwise."""

LEAST_FRAMES = 100
MOST_ALONE = 0.5
"""Weight of taking frames alone, from which on there is no estimate."""

VAGUE = 0.4
"""Width of an interval that is told without its middle."""

SURE_ERROR = 0.03
"""Half the width that the interval of thresholded confidence has whatever the number of frames."""

Z95 = 1.959964
"""Standard deviations to each side of a normal mean that hold 95 %."""


class Accuracy(NamedTuple):
    """Estimated share of right answers with its 95 % interval, each 0..1."""

    value: float
    low: float
    high: float


def threshold(largest: Sequence[float], accuracy: float) -> Threshold:
    """Return the probability that so large a share of source frames is surer than.

    Each below 1, since nothing is surer than that. The interval is by how many frames there are; an
    end that all of them are on one side of is 0 or the most.

    Args:
        largest: each frame's largest probability; those without a number are left out.
        accuracy: share of these frames, or of others like them, that the network is right about.

    Raises ValueError where no frame has a number.
    """
    known = np.asarray(largest)[np.isfinite(largest)]
    if not len(known):
        raise ValueError("largest must hold a finite number at least")
    most = float(np.nextafter(1.0, 0.0))
    value = min(float(np.quantile(known, 1 - accuracy)), most)
    # The chance that a frame is surer and wrong, or right and less sure, by the network itself; of
    # an accuracy that is of other frames the variance is that of the number of right ones.
    apart = max(np.where(known > value, 1 - known, known).mean(), accuracy * (1 - accuracy))
    half = Z95 * math.sqrt(apart / len(known))
    low, high = 1 - accuracy - half, 1 - accuracy + half
    return Threshold(
        value,
        min(float(np.quantile(known, low)), most) if low > 0 else 0.0,
        min(float(np.quantile(known, high)), most) if high < 1 else most,
    )


def _doubted(accuracy: Accuracy, by: float) -> Accuracy:
    """Return an estimate that is known to be too high by up to so much.

    Half of it is taken off: it belongs to this network or to another, with equal right.
    """
    return Accuracy(max(accuracy.value - by / 2, 0.0), max(accuracy.low - by, 0.0), accuracy.high)


class AccuracyEstimate:
    """Estimates the accuracy over the latest frames.

    Args:
        memory: how many, from 1: an even mean of so many, then an exponential one.
        sure_above: `threshold` of the network's source frames; None: unknown.
    """

    def __init__(self, memory: float = MEMORY, sure_above: Threshold | None = None) -> None:
        self._memory = memory
        self._sure_above = None if sure_above is None else np.array(sure_above)
        self._frame, self._answer = Running(memory), Running(memory)
        self._alone, self._stay = Running(memory), Running(memory)
        self._sure = Running(memory)

    def add(self, belief: Belief, p: Vector) -> None:
        """Add a frame: what is believed after it, and its own probabilities (C,)."""
        self._frame.add(float(belief.p[p.argmax()]))
        if self._sure_above is not None:
            self._sure.add(p.max() > self._sure_above)
        self._answer.add(float(belief.p.max()))
        self._alone.add(belief.alone)
        self._stay.add(belief.stay)

    @property
    def frames(self) -> int:
        """Frames that the estimates are over."""
        return int(min(self._frame.count, self._memory))

    @property
    def alone(self) -> float:
        """Mean weight of taking frames alone, 0..1; 1 before the first frame."""
        return float(self._alone.value) if self._alone.count else 1.0

    @property
    def mean_of_frames(self) -> float:
        """Mean of what is believed of the classes that frames say alone, known or not."""
        return float(self._frame.value)

    def of_frames(self, doubt: float = 0.0, *, adapting: bool = True) -> Accuracy | None:
        """Return the accuracy of what frames say alone; None: unknown.

        doubt: by how much what is believed is known to be believed too much, 0..1. adapting: an
        adapting network answers; by the threshold nothing is known of another.
        """
        return self._estimate(self._frame, doubt, adapting)

    def of_answers(self, doubt: float = 0.0, *, adapting: bool = True) -> Accuracy | None:
        """Return the same of the filtered answers."""
        return self._estimate(self._answer, doubt, adapting)

    def _estimate(self, believed: Running, doubt: float, adapting: bool) -> Accuracy | None:
        if self._frame.count < LEAST_FRAMES:
            return None
        if self.alone <= MOST_ALONE:
            value = min(float(believed.value), 1.0)
            return _doubted(Accuracy(value, *wilson(value, self.frames / self._stay.value)), doubt)
        if self._sure_above is None or not adapting:
            return None
        value, most, least = (float(share) for share in self._sure.value)
        low, high = wilson(least, self.frames)[0], wilson(most, self.frames)[1]
        return Accuracy(value, max(low - SURE_ERROR, 0.0), min(high + SURE_ERROR, 1.0))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of n independent trials (Wilson, 1927)."""
    spread = Z95 * Z95 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At 0 and 1 an end is the share itself, but for rounding.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def in_words(accuracy: Accuracy | None) -> str:
    """Return an estimate with its interval, in per cent."""
    if accuracy is None:
        return "unknown"
    low, high = (f"{100 * bound:.0f}" for bound in (accuracy.low, accuracy.high))
    if accuracy.high - accuracy.low > VAGUE:
        return f"somewhere from {low} to {high}%"
    return f"{accuracy.value:.1%} ({low} to {high})"
