"""Distribution of the classes a stream shows, told by the network's own predictions.

Statistics that are averaged over a stream are off for two reasons: the world has changed, which is
to be followed, and the frames show some classes more than others, which is not. How far the second
reason goes can be seen at the output. Each running statistic has a *class distribution*: the mean
prediction of the frames in it, with the same weights. Were all classes shown alike, it would be
uniform; if it is not, then

    share = |distribution - uniform|^2 / dispersion

of the distance at which single frames stand from the whole is still in the average. dispersion: the
mean of |p - uniform|^2 over single predictions p. 1 / share is the effective number of frames: one
for a run of one class, the number of frames where they come in random order. A difference of
statistics has the difference of their class distributions.

A frame of a class that has been frequent weighs less, in statistics and in the loss; and the loss
may push predictions away from classes that are more frequent than usual (`diversity`). Information
maximisation does so with those that are more frequent than others (Liang et al., "Do We Really Need
to Access the Source Data?", ICML 2020), in a batch; but no camera sees all classes equally often.

Axes: n images, K classes; ... any others.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.method import moments

# Frames of each class that are taken for seen beforehand: where the running frequencies only weigh
# frames, and where the loss pushes predictions away from them. The latter feeds back on itself.
PRIOR_FRAMES = 2.0
PRIOR_FRAMES_IN_LOSS = 20.0

# Frames of each class that the usual frequencies count as before the first frame, all classes
# alike; and that they are over at most.
USUAL_FRAMES, USUAL_MEMORY = 30.0, 1000.0

TINY = 1e-9


class ClassBalance(NamedTuple):
    """Class distributions (K,) of the recent and of the lasting statistics, and dispersion ().

    frequency: running mean prediction (K,), each frame weighing the same. usual: the same over many
    more frames (`USUAL_MEMORY`). variety: running mean of |p - recent|^2, the squared distance of a
    prediction from the recent ones, (). frames: so far, ().
    """

    recent: Tensor
    lasting: Tensor
    frequency: Tensor
    usual: Tensor
    dispersion: Tensor
    variety: Tensor
    frames: Tensor


def initial(classes: int, like: Tensor) -> ClassBalance:
    """Return what is known before the first frame: every class alike, predictions certain."""
    uniform = torch.full_like(like.new_empty(classes), 1 / classes)
    one = like.new_ones(())
    frames = torch.zeros_like(one, dtype=torch.int64)
    recent, lasting, frequency, usual = (uniform.clone() for _ in range(4))
    return ClassBalance(recent, lasting, frequency, usual, one, one.clone(), frames)


def mean_prediction(logits: Tensor) -> Tensor:
    """Return the mean probabilities of logits (..., n, K), (..., K)."""
    return logits.softmax(-1).mean(-2)


def shrunk_frequency(balance: ClassBalance, smoothing: float, prior_frames: float) -> Tensor:
    """Return the frequencies of the classes as far as chance does not explain them, (K,).

    Args:
        smoothing: of the running frequency.
        prior_frames: frames of each class that are taken for seen beforehand.
    """
    frequency = balance.frequency
    classes = frequency.shape[-1]
    uniform = 1 / classes
    seen = balance.frames.to(frequency.dtype)[..., None]
    gap = (frequency - uniform).square().sum(-1, keepdim=True)
    # Variance of an exponential mean: (1 - m) / (1 + m) of that of its terms.
    independent = seen.clamp_max((1 + smoothing) / max(1 - smoothing, TINY))
    chance = balance.dispersion[..., None] / (independent * gap).clamp_min(TINY)
    shrunk = uniform + (1 - chance).clamp_min(0) * (frequency - uniform)
    seen = seen.clamp_max(1 / max(1 - smoothing, TINY))
    return (seen * shrunk + prior_frames) / (seen + prior_frames * classes)


def excess(balance: ClassBalance, frequency: Tensor, smoothing: float) -> Tensor:
    """Return ln(f / usual) of the classes that are more frequent than usual, 0 of others, (K,).

    frequency: f, `shrunk_frequency` with PRIOR_FRAMES_IN_LOSS; usual is shrunk alike. smoothing:
    of f.
    """
    shown = balance._replace(frequency=balance.usual)
    usual = shrunk_frequency(shown, smoothing, PRIOR_FRAMES_IN_LOSS)
    return (frequency / usual).log().clamp_min(0)


def class_balance_weight(p: Tensor, frequency: Tensor) -> Tensor:
    """Return the weights of images by their predictions p (..., n, K), (..., n), in (0, 1].

    One where the predicted class has been no more frequent than the others, else the inverse of
    how many times more. frequency: (..., K).
    """
    expected = (p * frequency[..., None, :]).sum(-1)
    return (1 / (p.shape[-1] * expected).clamp_min(TINY)).clamp_max(1)


def share_in_lasting(balance: ClassBalance) -> Tensor:
    """Return the share of the frames' spread in the lasting statistics' distance from the source's,
    (1,)."""
    lasting = _from_uniform(balance.lasting)
    return _over_dispersion(balance, lasting, lasting)


def share_in_recent(balance: ClassBalance, factors: Tensor) -> Tensor:
    """Return the share of the frames' spread in the distance of the recent statistics from those
    between the source's (factor 0) and the lasting ones (factor 1).

    factors: (k,), one for each distance. Returns (k,).
    """
    recent, lasting = _from_uniform(balance.recent), _from_uniform(balance.lasting)
    # |recent - factor lasting|^2, without an axis of classes for each factor.
    square = (
        _over_dispersion(balance, recent, recent)
        - 2 * factors * _over_dispersion(balance, recent, lasting)
        + factors.square() * _over_dispersion(balance, lasting, lasting)
    )
    return square.clamp_min(0)


def variance_left(balance: ClassBalance) -> tuple[Tensor, Tensor]:
    """Return how much predictions vary about their mean, and about the recent ones before them, of
    how far they are from uniform, (1,) each in [0, 1]: near 0 where all frames are alike."""
    gap = _from_uniform(balance.frequency)
    about_mean = 1 - _over_dispersion(balance, gap, gap)
    about_recent = (balance.variety / balance.dispersion.clamp_min(TINY))[..., None]
    return about_mean.clamp_min(0), about_recent.clamp_max(1)


def updated(
    balance: ClassBalance,
    p: Tensor,
    weights: tuple[Tensor, Tensor],
    smoothing: float,
) -> ClassBalance:
    """Return what is known after a frame.

    Args:
        p: its mean prediction, (K,).
        weights: (1,) each, that it has in the recent and in the lasting statistics.
        smoothing: of frequency, dispersion and variety.
    """
    in_frequency = 1 - moments.smoothing_at(balance.frames[..., None], smoothing, TINY)
    # As of `moments.smoothing_at`, which in float32 is too near to 1 here with many classes.
    in_usual = 1 / (balance.frames[..., None] + 1 + USUAL_FRAMES * p.shape[-1])
    in_usual = in_usual.clamp_min(1 / (USUAL_MEMORY * p.shape[-1]))
    in_dispersion = 1 - moments.smoothing_at(balance.frames, smoothing, 1)
    distance = (p - 1 / p.shape[-1]).square().sum(-1)
    from_recent = (p - balance.recent).square().sum(-1)
    return ClassBalance(
        balance.recent + weights[0] * (p - balance.recent),
        balance.lasting + weights[1] * (p - balance.lasting),
        balance.frequency + in_frequency * (p - balance.frequency),
        balance.usual + in_usual * (p - balance.usual),
        balance.dispersion + in_dispersion * (distance - balance.dispersion),
        balance.variety + in_dispersion * (from_recent - balance.variety),
        balance.frames + 1,
    )


def _from_uniform(distribution: Tensor) -> Tensor:
    """Return the gap from uniform, (..., K)."""
    return distribution - 1 / distribution.shape[-1]


def _over_dispersion(balance: ClassBalance, a: Tensor, b: Tensor) -> Tensor:
    """Return a . b of two gaps (K,) in units of the dispersion, (1,)."""
    return (a * b).sum(-1, keepdim=True) / balance.dispersion.clamp_min(TINY)[..., None]
