"""Class filter: a hidden Markov model over the classes, run on a network's logits.

The class stays from one frame to the next with probability s, else it is drawn anew. How long
classes stay is not known, nor how far the network's certainty can be trusted. So there is a model
for each stay probability s and temperature T:

    p    = softmax(logits / T)
    like = (p / usual)^sqrt(novelty), scaled to sum_k usual_k like_k = 1
    old  = usual (belief / usual)^(1 - FADING (1 - novelty)), scaled to sum 1
    predicted = s^e old + (1 - s^e) usual           e = novelty x time in frame intervals
    evidence  = sum_k predicted_k like_k
    belief    = predicted like / evidence
    evidence <- evidence exp(-toll novelty)

usual: how often the network says each class whatever it sees, by

    prior  = running mean of p, over up to PRIOR_MEMORY frames, one for each temperature
    recent = the same over DRIFTS[0] = 10 frames
    grown  = GROWTH median_k(recent_k / prior_k)
    raised_k = max(prior_k, min(recent_k, grown prior_k, (1 - recent_k) / (C - 1)))
    usual  = prior + alone (raised - prior), scaled to sum 1
    alone  = running mean of the weight of taking frames alone, over the frames of the prior

With a common prior for all temperatures rare classes would win by themselves. A class that is said
more than before stays; or the network has just become less sure, and says every class more that
never comes. By the prior one of those would be what stays, for hundreds of frames. So what grows
beyond its prior is usual as far as most classes have grown, and as the others are said on average;
but not in a stream whose neighbours have long been found to tell.

Beside these models stand others that take every frame alone, with the network's own prediction as
belief. One has evidence 1. The others say that predictions resemble each other because the
network's preferences drift: adaptation does that, in random order too. What they expect of a frame
is a short running mean of p, over DRIFTS frames. The toll is what resemblance must at least tell
before it counts: a class that stays tells far more, a drift less, but of more classes one is always
found that drifts much. Models are weighed by their evidence (the fixed-share forecaster of Herbster
and Warmuth, "Tracking the Best Expert", 1998):

    weight <- (1 - SHARE) weight evidence / sum + SHARE initial weight
    answer  = sum over models of weight x belief

so that n frames cost at most -log(ALONE / 2) + n SHARE nats against the frames alone: where
neighbours tell nothing, the filter turns itself off.

Neighbouring frames of a recording are nearly the same picture and share their errors. novelty, how
much of a frame is news (`edge_tta.temporal.novelty`), says so: likelihood counts less, the class
stays longer, and what was believed fades, so that the latest of many views of one thing decides.

Axes: T temperatures, S stay probabilities, D memories of a drift, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_tta.probability import softmax_in_kind

Array = npt.NDArray[np.float32]

STAYS = (0.5, 0.8, 0.9, 0.95, 0.98)
TEMPERATURES = (0.5, 0.8, 1.3, 2.2, 4.0)

ALONE = 300 / 301
"""Weight at first of the models that take every frame alone; half of it without a drift."""

DRIFTS = (10, 30, 100)
"""Memories of drifting preferences, in frames of news."""

_RECENT = 0
"""Which of `DRIFTS` is the memory of what has lately been said."""

SHARE = 1e-3
FADING = 0.3

PRIOR_FRAMES, SOURCE_PRIOR_FRAMES = 50.0, 10.0
"""Frames of news that a prior counts as with the first one seen, of an adapted network and of the
source. Under corruption the source prefers some classes, and a prior has to learn that soon;
calibration takes it out, and what is learned soon would be the first things seen."""

PRIOR_MEMORY = 600.0
"""Frames of news that a prior is over at most."""

GROWTH = 1.5
"""So many times the median growth of the classes is taken for the growth of all."""

PACE_FRAMES = 50
"""Frames that the mean novelty is over, with which it is told how long a class stays."""

TOLL, FEW_CLASSES, TOLL_OF_A_CLASS = 0.05, 10, 2.5e-4
"""In nats a frame of news: up to so many classes, and for each one more."""

_LEAST_NOVELTY = 0.01
_TINY = np.float32(1e-30)

# So that no evidence is 0 in float32, whatever the logits.
_LEAST_PRIOR = np.float32(1e-12)
_MOST_STAY = 1 - 1e-6


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
    """Running mean of the network's probabilities, (T, C), and the news that it is over.

    recent: short running means, (T, D, C). alone: running mean of the weight of frames alone.
    """

    mean: Array
    recent: Array
    seen: float
    alone: float = 1.0

    def usual(self) -> Array:
        """Return how often each class is said whatever is seen, (T, C)."""
        recent = self.recent[:, _RECENT]
        classes = recent.shape[-1]
        growth = np.sort(recent / self.mean, -1)[:, (classes - 1) // 2 : classes // 2 + 1]
        grown = np.float32(GROWTH) * growth.mean(-1, keepdims=True) * self.mean
        others = (1 - recent) / np.float32(max(classes - 1, 1))
        raised = np.maximum(self.mean, np.minimum(np.minimum(recent, grown), others))
        usual: Array = self.mean + np.float32(self.alone) * (raised - self.mean)
        usual /= usual.sum(-1, keepdims=True)
        return usual


class ClassFilter:
    """Filters logits over time. Causal: a frame's belief depends on it and those before it.

    Args:
        classes: number of classes, from 1.
        prior_frames: as of `PRIOR_FRAMES`, from 1.

    Raises ValueError for fewer.

    Attributes:
        log_evidence: of all models together against the frames alone, in nats, since the start.
    """

    def __init__(self, classes: int, prior_frames: float = PRIOR_FRAMES) -> None:
        if classes < 1:
            raise ValueError(f"classes must be >= 1, got {classes}")
        if not prior_frames >= 1:
            raise ValueError(f"prior_frames must be >= 1, got {prior_frames}")
        self._stays = np.array(STAYS)
        self._temperatures = np.array(TEMPERATURES, np.float32)[:, None]
        self._drift_rates = 1 / np.array(DRIFTS, np.float32)[:, None]
        self._classes, self._toll = classes, toll(classes)
        count = len(TEMPERATURES) * len(STAYS)
        self._first = np.full((len(TEMPERATURES), len(STAYS)), (1 - ALONE) / count)
        count = len(TEMPERATURES) * len(DRIFTS)
        self._first_drifting = np.full((len(TEMPERATURES), len(DRIFTS)), ALONE / 2 / count)
        shape = len(TEMPERATURES), len(STAYS), classes
        self._belief: Array = np.full(shape, 1 / classes, np.float32)
        self._weights, self._drifting = self._first, self._first_drifting
        self._without_drift = ALONE / 2
        self._prior = _first_prior(classes, prior_frames)
        self._pace = 1.0
        self.log_evidence = 0.0

    def update(self, logits: Any, *, novelty: float = 1.0, interval: float = 1.0) -> Belief:
        """Return what is believed after one more frame.

        Args:
            logits: (C,). Where they are not finite, the frame tells nothing: the belief grows
                older, and the answer is the logits' softmax.
            novelty: how much of the frame is news, 0..1; 1: an unrelated picture.
            interval: time since the frame before, in usual intervals, >= 0.

        Raises ValueError where `logits` have another shape.
        """
        logits = np.asarray(logits, np.float32)
        if logits.shape != (self._classes,):
            raise ValueError(f"logits must be ({self._classes},), got {logits.shape}")
        with np.errstate(invalid="ignore", over="ignore"):
            logits = logits - logits.max()
        novelty = min(max(novelty, _LEAST_NOVELTY), 1.0)
        exponent = novelty * interval
        self._pace += (novelty - self._pace) / PACE_FRAMES
        prior = self._prior
        stays = np.minimum(self._stays**exponent, _MOST_STAY)
        usual = prior.usual()
        predicted = self._predicted(usual[:, None], novelty, stays)
        alone = softmax_in_kind(logits)
        if not np.isfinite(alone).all():
            self._belief = predicted
            return Belief(alone, self._alone(), self._stay())
        with np.errstate(over="ignore"):
            p: Array = softmax_in_kind(logits / self._temperatures)
        like = (p / usual) ** np.float32(np.sqrt(novelty))
        like /= (usual * like).sum(-1, keepdims=True)
        predicted *= like[:, None]
        evidence = predicted.sum(-1)
        predicted /= np.maximum(evidence, _TINY)[..., None]
        self._belief = predicted
        evidence = evidence * np.exp(-self._toll * novelty)
        self._weigh(evidence, (prior.recent * like[:, None]).sum(-1))
        by_frame = self._alone()
        rate = novelty / min(prior.seen, PRIOR_MEMORY)
        prior.mean = np.maximum(prior.mean + (p - prior.mean) * rate, _LEAST_PRIOR)
        prior.alone += (by_frame - prior.alone) * rate
        prior.seen += novelty
        rates = np.float32(novelty) * self._drift_rates
        prior.recent = prior.recent + rates * (p[:, None] - prior.recent)
        weights = self._weights.astype(np.float32).reshape(-1)
        answer = weights @ predicted.reshape(-1, self._classes) + np.float32(by_frame) * alone
        return Belief(answer / answer.sum(), by_frame, self._stay())

    def _predicted(self, usual: Array, novelty: float, stays: npt.NDArray[np.float64]) -> Array:
        """Return the distributions (T, S, C) expected of a frame before it is seen."""
        old = self._belief
        if novelty < 1:
            power = np.float32(1 - FADING * (1 - novelty))
            faded: Array = usual * (old / usual) ** power
            old = faded / faded.sum(-1, keepdims=True)
        stay = stays.astype(np.float32)[:, None]
        predicted: Array = stay * old + (1 - stay) * usual
        return predicted

    def _weigh(self, evidence: npt.NDArray[Any], of_drifts: npt.NDArray[Any]) -> None:
        """Weigh the models anew by the evidence (T, S) of a frame, and that of drifts (T, D)."""
        weights, drifting = self._weights * evidence, self._drifting * of_drifts
        total = self._without_drift + weights.sum() + drifting.sum()
        self.log_evidence += float(np.log(total))
        keep = (1 - SHARE) / total
        self._weights = keep * weights + SHARE * self._first
        self._drifting = keep * drifting + SHARE * self._first_drifting
        self._without_drift = keep * self._without_drift + SHARE * ALONE / 2

    def _alone(self) -> float:
        """Return the weight of taking frames alone."""
        return float(self._without_drift + self._drifting.sum())

    def _stay(self) -> float:
        """Return the expected number of frames until the class changes."""
        lengths = 1 / (1 - self._stays ** max(self._pace, _LEAST_NOVELTY))
        return float(self._alone() + (self._weights.sum(0) * lengths).sum())


def toll(classes: int) -> float:
    """Return what resemblance must at least tell before it counts, in nats a frame of news."""
    return TOLL + TOLL_OF_A_CLASS * max(0, classes - FEW_CLASSES)


def _first_prior(classes: int, frames: float) -> _Prior:
    """Return the prior before the first frame: all classes alike."""
    uniform = np.full((len(TEMPERATURES), classes), 1 / classes, np.float32)
    return _Prior(uniform, uniform[:, None].repeat(len(DRIFTS), 1), frames)
