"""Which of two networks makes more of the same frames, where a frame has many answers.

    advantage = mean over frames of (worth of the source's outputs - worth of the adapted one's)
    weight of the source = 1 where advantage + margin > 0, else 0

worth: of a task (`edge_tta.tasks`): of a mask the mutual information of its positions and classes
as a part of the most there can be, of boxes the highest score. Both networks see the same frames,
so that what those show drops out.
margin: how much more the adapted network has to show to be believed. The source answers first.
"""

from __future__ import annotations

import math
from typing import Any

from edge_tta.nest import mapped
from edge_tta.tasks.base import Comparable
from edge_tta.temporal.accuracy import Accuracy
from edge_tta.temporal.novelty import Blocks
from edge_tta.temporal.running import Running

MEMORY = 40
"""Compared frames that the mean is over."""

ALIKE = 2
"""Frames, of which both networks make the same, that it begins with."""


class Comparison:
    """Compares an adapted network with its source by what their outputs are worth.

    Attributes:
        advantage: mean worth of the source's outputs less that of the adapted network's.
        disagreement: None: how much masks or boxes differ is not measured.
        contradiction: 0. accuracy, source_accuracy: None: unknown.
        doubt, trust: why the source is to answer, and why the adapted network, in a few words.
    """

    doubt = "the adapted network is not clearly surer than the source"
    trust = "it is clearly surer than the source"

    disagreement: float | None = None
    contradiction = 0.0
    accuracy: Accuracy | None = None
    source_accuracy: Accuracy | None = None

    def __init__(self, task: Comparable) -> None:
        self._task = task
        self._gain: Running = Running(MEMORY)
        for _ in range(ALIKE):
            self._gain.add(0.0)

    @property
    def advantage(self) -> float:
        """How much more the source's outputs are worth."""
        return float(self._gain.value)

    @property
    def weight(self) -> float:
        """Weight of the source, 0 or 1: between two masks nothing is blended."""
        return float(self.advantage + self._task.margin > 0)

    def compare(self, blocks: Blocks, adapted: Any, source: Any) -> None:
        """Add a frame with both networks' outputs, without the axis of images.

        Outputs of no worth, which are not finite, say nothing.
        """
        worth = [self._task.worth(mapped(lambda t: t[None], out)) for out in (source, adapted)]
        gain = worth[0] - worth[1]
        if math.isfinite(gain):
            self._gain.add(gain)
