"""Which of two networks makes more of the same frames, where a frame has many answers.

    weight of the source = 0 where the mean gain over the latest frames is above a margin, else 1

gain: of a task (`edge_tta.tasks`): of a mask by how much more its positions and classes tell of
each other, of boxes by how much the highest score is higher. Both networks see the same frames, so
that what those show drops out.
margin: how much more the adapted network has to show to be believed. The source answers first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_tta.nest import leaves, mapped
from edge_tta.probability import as_array
from edge_tta.tasks.base import Comparable
from edge_tta.temporal.accuracy import Accuracy
from edge_tta.temporal.novelty import Blocks
from edge_tta.temporal.running import Running

MEMORY = 40
"""Compared frames that the mean is over."""

SOURCE_ANSWERS = "source answers"
"""What it is called that the adapted network is not clearly ahead: no harm."""

ALIKE = 2
"""Frames, of which both networks make the same, that it begins with."""


class Comparison:
    """Compares an adapted network with its source by what their outputs tell.

    Attributes:
        gain: mean gain of the adapted network.
        disagreement: share of positions or boxes (`parts`) on which they differ, 0..1.
        contradiction: 0. accuracy, source_accuracy: None: unknown.
        doubt, trust: why the source is to answer, and why the adapted network, in a few words.
        returns: what it is called that the adapted network answers again.
    """

    returns = "adapted answers"
    doubt = "the adapted network is not clearly surer than the source"
    trust = "it is clearly surer than the source"

    contradiction = 0.0
    accuracy: Accuracy | None = None
    source_accuracy: Accuracy | None = None

    def __init__(self, task: Comparable) -> None:
        self._task, self.parts = task, task.parts
        self._gain, self._differ = Running(MEMORY), Running(MEMORY)
        for _ in range(ALIKE):
            self._gain.add(0.0)

    @property
    def gain(self) -> float:
        """By how much the adapted network's outputs tell more than the source's."""
        return float(self._gain.value)

    @property
    def disagreement(self) -> float:
        """Share of positions or boxes on which the networks say something else, 0..1."""
        return float(self._differ.value)

    @property
    def weight(self) -> float:
        """Weight of the source, 0 or 1: between two masks nothing is blended."""
        return float(self.gain <= self._task.margin)

    def compare(self, blocks: Blocks, adapted: Any, source: Any) -> None:
        """Add a frame with both networks' outputs, without the axis of images.

        Outputs that are not finite say nothing.
        """
        if not (finite(adapted) and finite(source)):
            return
        both = [mapped(lambda t: t[None], outputs) for outputs in (adapted, source)]
        compared = self._task.compare(*both)
        self._gain.add(compared.gain)
        self._differ.add(compared.differ)


def finite(outputs: Any) -> bool:
    """Tell whether all numbers of outputs are finite."""
    return all(bool(np.isfinite(as_array(leaf)).all()) for leaf in leaves(outputs))
