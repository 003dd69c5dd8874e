"""`Filtered`: an adapter or a guard whose answers are filtered over time."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Any, Protocol

import numpy as np

from edge_tta.probability import Threshold, as_array, in_kind, log_probabilities, softmax
from edge_tta.temporal.accuracy import AccuracyEstimate
from edge_tta.temporal.class_filter import PRIOR_FRAMES, SOURCE_PRIOR_FRAMES, Belief, ClassFilter
from edge_tta.temporal.novelty import Blocks, Novelty, block_means

_INTERVALS = 64
"""Latest intervals between frames, of which the usual one is the median."""


class Predictor(Protocol):
    """What answers images: an adapter, or a guard around one."""

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        """Return logits (N, classes) of images (N, channels, H, W)."""

    def reset(self) -> None:
        """Go back to the source."""


class Filtered:
    """`filtered(images) -> logits`: the logarithm of what is believed after each frame.

    Adaptation goes on as without: the filter only reads what the adapter, or the guard, answers.
    Where it fails to know better, its answer is the network's own.

    Args:
        predictor: an adapter of any method, `source` included, or a guard.
        sure_above: `edge_tta.temporal.accuracy.threshold` of the network's source frames, by which
            the accuracy of an adapting network is estimated in random order too; None: unknown.
        of_source: the answers are the source network's, whose preferences are learned sooner, and
            of which `sure_above` tells nothing.

    Attributes:
        belief: after the latest frame; None before the first.
        raw: the predictor's logits (N, classes) of the latest call.
        novelty: of the latest frame, 0..1; 1 before the first.
        accuracy: estimated, of the latest frames.
    """

    def __init__(
        self,
        predictor: Predictor,
        sure_above: Threshold | None = None,
        *,
        of_source: bool = False,
    ) -> None:
        self._predictor = predictor
        # The source network, which nothing corrects, is sure where it is wrong.
        self._sure_above = None if of_source else sure_above
        self._prior_frames = SOURCE_PRIOR_FRAMES if of_source else PRIOR_FRAMES
        self.reset_filter()

    def reset_filter(self) -> None:
        """Forget what was believed, and nothing else."""
        self.raw: Any = None
        self.belief: Belief | None = None
        self.novelty = 1.0
        self.accuracy = AccuracyEstimate(sure_above=self._sure_above)
        self._filter: ClassFilter | None = None
        self._novelty = Novelty()
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self._time_s: float | None = None

    def __call__(self, images: Any, *, learn: bool = True, time_s: float | None = None) -> Any:
        """Return logits (N, classes) of images (N, channels, H, W), as the predictor takes them.

        Args:
            learn: as of `Adapter`.
            time_s: of the last image, in seconds; None: it came at the usual interval. After a gap
                what was believed counts less, by the time gone by. Times that are not finite, or
                not later than the one before, count as None.
        """
        self.raw = self._predictor(images, learn=learn)
        of_guard = getattr(self._predictor, "blocks", None)
        return self.update(images, self.raw, time_s, blocks=of_guard)

    def update(
        self,
        images: Any,
        logits: Any,
        time_s: float | None = None,
        *,
        blocks: Blocks | None = None,
    ) -> Any:
        """Return the filtered logits of images that the predictor has answered with `logits`.

        blocks: the images' block means, where they are known.
        """
        if blocks is None:
            blocks = block_means(as_array(images))
        interval = self._interval(time_s, len(logits))
        answers = []
        for means, row in zip(blocks, as_array(logits), strict=True):
            if self._filter is None:
                self._filter = ClassFilter(len(row), self._prior_frames)
            self.novelty = self._novelty.update(means)
            self.belief = self._filter.update(row, novelty=self.novelty, interval=interval)
            if np.isfinite(self.belief.p).all():
                self.accuracy.add(self.belief, softmax(row))
            answers.append(log_probabilities(self.belief.p))
        return in_kind(np.stack(answers), logits)

    def reset(self) -> None:
        """Go back to the source, and forget what was believed."""
        self._predictor.reset()
        self.reset_filter()

    @property
    def stay_s(self) -> float | None:
        """Expected seconds until the class changes; None: no frame had a time."""
        if self.belief is None or not self._intervals:
            return None
        return self.belief.stay * median(self._intervals)

    def _interval(self, time_s: float | None, frames: int) -> float:
        """Return the time between the frames of a call in usual intervals; 1 where unknown."""
        if time_s is not None and not math.isfinite(time_s):
            time_s = None
        before, self._time_s = self._time_s, time_s
        if time_s is None or before is None or time_s <= before:
            return 1.0
        gap = (time_s - before) / frames
        usual = median(self._intervals) if self._intervals else gap
        self._intervals.append(gap)
        return gap / usual
