"""Class filter: a hidden Markov model over the classes, run on a network's logits.

The class stays from one frame to the next with probability s, else it is drawn anew. How long
classes stay is not known, nor how far the network's certainty can be trusted. So there is a model
for each stay probability s and temperature T, and one that takes every frame alone:

    p    = softmax(logits / T)
    like = (p / prior)^sqrt(novelty), scaled to sum_k prior_k like_k = 1
    old  = prior (belief / prior)^(1 - FADING (1 - novelty)), scaled to sum 1
    predicted = s^e old + (1 - s^e) prior           e = novelty x time in frame intervals
    evidence  = sum_k predicted_k like_k
    belief    = predicted like / evidence

prior: running mean of p, one for each temperature; with a common one rare classes would win by
themselves. The frame alone has belief p and evidence 1. Models are weighed by their evidence (the
fixed-share forecaster of Herbster and Warmuth, "Tracking the Best Expert", 1998):

    weight <- (1 - SHARE) weight evidence / sum + SHARE initial weight
    answer  = sum over models of weight x belief

so that n frames cost at most -log(ALONE) + n SHARE nats against the frames alone: where neighbours
tell nothing, the filter turns itself off.

Neighbouring frames of a recording are nearly the same picture and share their errors. novelty, how
much of a frame is news (`edge_tta.temporal.novelty`), says so: likelihood counts less, the class
stays longer, and what was believed fades, so that the latest of many views of one thing decides.

Axes: T temperatures, S stay probabilities, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

STAYS = (0.5, 0.8, 0.9, 0.95, 0.98)
TEMPERATURES = (0.5, 0.8, 1.3, 2.2, 4.0)

ALONE = 100 / 101
"""Weight at first of the model that takes every frame alone."""

SHARE = 1e-3
FADING = 0.7

PRIOR_FRAMES, PRIOR_MEMORY = 10.0, 500.0
"""Frames of all classes alike that a prior begins with, and that it is over at most, of news."""

PACE_FRAMES = 50
"""Frames that the mean exponent e is over, with which it is told how long a class stays."""

_LEAST_NOVELTY = 0.01
_TINY = np.float32(1e-30)


class Belief(NamedTuple):
    """What is believed after a frame.

    p: probabilities (C,). alone: weight of taking the frame alone, 0..1. stay: expected number of
    frames like the latest ones until the class changes, from 1.
    """

    p: Array
    alone: float
    stay: float


@dataclass
class _Prior:
    """Running mean of one network's probabilities, (T, C), and the news that it is over."""

    mean: Array
    seen: float = PRIOR_FRAMES


class ClassFilter:
    """Filters logits over time. Causal: a frame's belief depends on it and those before it.

    Args:
        classes: number of classes, from 1.

    Raises ValueError for fewer.

    Attributes:
        log_evidence: of all models together against the frames alone, in nats, since the start.
    """

    def __init__(self, classes: int) -> None:
        if classes < 1:
            raise ValueError(f"classes must be >= 1, got {classes}")
        self._stays = np.array(STAYS)
        self._temperatures = np.array(TEMPERATURES, np.float32)[:, None]
        self._classes = classes
        count = len(TEMPERATURES) * len(STAYS)
        self._first = np.full((len(TEMPERATURES), len(STAYS)), (1 - ALONE) / count)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        shape = len(TEMPERATURES), len(STAYS), self._classes
        self._belief: Array = np.full(shape, 1 / self._classes, np.float32)
        self._weights, self._alone = self._first, ALONE
        self._priors: dict[str, _Prior] = {}
        self._pace = 1.0
        self.log_evidence = 0.0

    def update(
        self, logits: Any, *, novelty: float = 1.0, interval: float = 1.0, network: str = ""
    ) -> Belief:
        """Return what is believed after one more frame.

        Args:
            logits: (C,). Where they are not finite, the frame tells nothing: the belief grows
                older, and the answer is the logits' softmax.
            novelty: how much of the frame is news, 0..1; 1: an unrelated picture.
            interval: time since the frame before, in usual intervals, >= 0.
            network: which one the logits are of; each has a prior of its own, and all share the
                belief.

        Raises ValueError where `logits` have another shape.
        """
        logits = np.asarray(logits, np.float32)
        if logits.shape != (self._classes,):
            raise ValueError(f"logits must be ({self._classes},), got {logits.shape}")
        novelty = min(max(novelty, _LEAST_NOVELTY), 1.0)
        exponent = novelty * interval
        self._pace += (exponent - self._pace) / PACE_FRAMES
        uniform = np.full((len(TEMPERATURES), self._classes), 1 / self._classes, np.float32)
        prior = self._priors.setdefault(network, _Prior(uniform))
        predicted = self._predicted(prior.mean[:, None], novelty, self._stays**exponent)
        alone = _softmax(logits)
        if not np.isfinite(alone).all():
            self._belief = predicted
            return Belief(alone, self._alone, self._stay())
        p = _softmax(logits / self._temperatures)
        like = (p / np.maximum(prior.mean, _TINY)) ** np.float32(np.sqrt(novelty))
        like /= (prior.mean * like).sum(-1, keepdims=True)
        predicted *= like[:, None]
        evidence = predicted.sum(-1)
        predicted /= np.maximum(evidence, _TINY)[..., None]
        self._belief = predicted
        self._weigh(evidence)
        prior.mean = prior.mean + (p - prior.mean) * (novelty / min(prior.seen, PRIOR_MEMORY))
        prior.seen += novelty
        weights = self._weights.astype(np.float32).reshape(-1)
        answer = weights @ predicted.reshape(-1, self._classes) + np.float32(self._alone) * alone
        return Belief(answer / answer.sum(), self._alone, self._stay())

    def _predicted(self, prior: Array, novelty: float, stays: npt.NDArray[np.float64]) -> Array:
        """Return the distributions (T, S, C) expected of a frame before it is seen."""
        old = self._belief
        if novelty < 1:
            power = np.float32(1 - FADING * (1 - novelty))
            faded: Array = prior * (old / np.maximum(prior, _TINY)).astype(np.float32) ** power
            old = faded / faded.sum(-1, keepdims=True)
        stay = stays.astype(np.float32)[:, None]
        predicted: Array = stay * old + (1 - stay) * prior
        return predicted

    def _weigh(self, evidence: npt.NDArray[Any]) -> None:
        """Weigh the models anew by the evidence (T, S) of a frame."""
        weights = self._weights * evidence
        total = self._alone + weights.sum()
        self.log_evidence += float(np.log(total))
        self._weights = (1 - SHARE) * weights / total + SHARE * self._first
        self._alone = (1 - SHARE) * self._alone / total + SHARE * ALONE

    def _stay(self) -> float:
        """Return the expected number of frames until the class changes."""
        lengths = 1 / (1 - self._stays ** max(self._pace, _LEAST_NOVELTY))
        return float(self._alone + (self._weights.sum(0) * lengths).sum())


def _softmax(logits: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        p = np.exp(logits - logits.max(-1, keepdims=True))
        shares: Array = p / p.sum(-1, keepdims=True)
    return shares
