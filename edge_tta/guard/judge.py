"""Which of two networks is right more often, without labels: the source, or the adapted one.

    advantage = (1 - alone) (accuracy of source - accuracy of adapted)
                + INFORMATION (I of source - I of adapted)

accuracy: what a network's own class filter believes, on average, of the class that the network
says (`edge_tta.temporal.accuracy`). It counts by as much as neighbouring frames tell anything:
alone is the filters' weight of taking each frame alone.

I: mutual information of frames and classes, H(mean p) - mean H(p), in nats: a network that knows
its classes is sure of each and says all of them (Bridle, Heading and MacKay, "Unsupervised
classifiers, mutual information and phantom targets", 1991). It speaks in any order, and cannot be
won by saying one class for ever, nor by saying nothing of each frame. A short mean of p may be over
one thing's frames, and then whoever is in doubt says more classes; a long one remembers what a
network said before the world changed. So there are both, with the short mean H(p). The difference
that is nearer to 0 counts, and none where they contradict each other.

    weight of the source = 1 / (1 + exp(-(advantage - CREDIT) / WIDTH))

so that in doubt adaptation, which mostly helps, counts for somewhat more.

The two fail in different places; docs/background/guard.md has how often they are right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.probability import Vector, as_array, entropy, softmax
from edge_tta.temporal.accuracy import Accuracy, AccuracyEstimate
from edge_tta.temporal.class_filter import SOURCE_PRIOR_FRAMES, ClassFilter
from edge_tta.temporal.novelty import Blocks, Novelty
from edge_tta.temporal.running import Running

MEMORY, LONG_MEMORY = 40, 150
"""Compared frames that means are over. The long one is of the second mean p, and of the
contradiction, which is told and decides nothing."""

INFORMATION = 0.6
CREDIT, WIDTH = 0.01, 0.02
"""In differences of accuracy."""


class Judge:
    """Compares an adapted network with its source on frames that both have seen.

    Args:
        classes: number of classes, from 1.

    Attributes:
        adapted, source: what is measured of each of them.
        weight: of the source in the answer, 0..1; the adapted network has the rest.
        doubt, trust: why the source is to answer, and why the adapted network, in a few words.
        returns: what it is called that the adapted network answers again.
    """

    returns = "returned"
    doubt = "the source seems to be right more often"
    trust = "it seems to be right more often than the source"

    def __init__(self, classes: int) -> None:
        self.adapted, self.source = _Network(classes), _Network(classes)
        self._novelty = Novelty()
        self._disagreement = Running(MEMORY)
        self._contradiction = Running(LONG_MEMORY)
        self.weight = _weight(self.advantage)

    def compare(self, blocks: Blocks, adapted: Any, source: Any) -> None:
        """Add a frame, its block means (channels, rows, columns), with both networks' logits (C,).

        Logits that are not finite say nothing of which network is right more often.
        """
        adapted, source = as_array(adapted), as_array(source)
        if not (np.isfinite(adapted).all() and np.isfinite(source).all()):
            return
        novelty = self._novelty.update(blocks)
        differ = float(adapted.argmax() != source.argmax())
        admitted = 2 - self.adapted.add(adapted, novelty) - self.source.add(source, novelty)
        self._disagreement.add(differ)
        self._contradiction.add(differ - admitted)
        self.weight = _weight(self.advantage)

    @property
    def accuracy(self) -> Accuracy | None:
        """Estimated accuracy of the adapted network, each frame alone; None: unknown."""
        return self.adapted.accuracy.of_frames(self._doubt(self.weight))

    @property
    def source_accuracy(self) -> Accuracy | None:
        """The same of the source."""
        return self.source.accuracy.of_frames(self._doubt(1 - self.weight))

    def _doubt(self, of_other: float) -> float:
        """Return by how much a network is believed too much, where the other has so much weight:
        the mistakes that nobody admits are those of the one that is right less often."""
        return 2 * self.contradiction * max(of_other, 0.5)

    @property
    def contradiction(self) -> float:
        """Share of frames, 0..1, on which one of the two must be wrong and neither is doubted."""
        return max(0.0, float(self._contradiction.value))

    @property
    def disagreement(self) -> float:
        """Share of compared frames on which the networks say different classes, 0..1."""
        return float(self._disagreement.value)

    @property
    def advantage(self) -> float:
        """How much better the source is, on the scale of a difference of accuracies."""
        adapted, source = self.adapted, self.source
        known = 1 - (adapted.accuracy.alone + source.accuracy.alone) / 2
        more_right = source.accuracy.mean_of_frames - adapted.accuracy.mean_of_frames
        told = _agreed(source.information - adapted.information)
        return known * more_right + INFORMATION * told


def _agreed(differences: Vector) -> float:
    """Return the one that is nearest to 0; 0 where their signs differ."""
    if differences.min() < 0 < differences.max():
        return 0.0
    return float(differences[np.abs(differences).argmin()])


def _weight(advantage: float) -> float:
    """Return the logistic function of an advantage, without overflow."""
    return 0.5 * (1 + math.tanh((advantage - CREDIT) / WIDTH / 2))


class _Network:
    """Class filter, accuracy and mutual information of one network's predictions."""

    def __init__(self, classes: int) -> None:
        self._filter = ClassFilter(classes, SOURCE_PRIOR_FRAMES)  # of both, to compare alike
        self._p = Running(MEMORY), Running(LONG_MEMORY)
        self._entropy: Running = Running(MEMORY)
        self.accuracy = AccuracyEstimate(MEMORY)

    def add(self, logits: npt.NDArray[Any], novelty: float) -> float:
        """Add the logits (C,) of a frame; return what is believed of the class that they say."""
        p = softmax(logits)
        belief = self._filter.update(logits, novelty=novelty)
        self.accuracy.add(belief, p)
        for mean in self._p:
            mean.add(p)
        self._entropy.add(float(entropy(p)))
        return float(belief.p[p.argmax()])

    @property
    def information(self) -> Vector:
        """Mutual information of frames and classes, in nats, by the short mean p and the long one
        (2,); 0 before the first frame."""
        if not self._entropy.count:
            return np.zeros(2)
        said: Vector = np.stack([mean.value for mean in self._p])
        return entropy(said) - float(self._entropy.value)
