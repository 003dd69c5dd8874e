"""What a stream shows, told by the network's own predictions.

Statistics that are averaged over a stream are off for two reasons: the world has changed, which is
to be followed, and the frames show some classes more than others, which is not. How far the second
reason goes can be seen at the output. Each running statistic has a *content*: the mean prediction
of the frames in it, with the same weights. Were all classes shown alike, it would be uniform; if
it is not, then

    share = |content - uniform|^2 / variety

of the distance at which single frames stand from the whole is still in the average. variety: the
mean of |p - uniform|^2 over single predictions p. 1 / share is the effective number of frames: one
for a run of one class, the number of frames where they come in random order. A difference of
statistics has the difference of their contents.

A frame of a class that has been frequent weighs less, in statistics and in the loss; and the loss
may ask for the rarer classes (`diversity`), as information maximisation does (Liang et al., "Do We
Really Need to Access the Source Data?", ICML 2020), here with a running mean in a batch's place.

Axes: ... streams, if any; n images; C classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method import moments

# Of how many frames a class the running frequencies are doubted by: where they only weigh frames,
# and where the loss pushes predictions away from them. The latter feeds back on itself.
FRAMES_OF_DOUBT = 2.0
FRAMES_OF_DOUBT_IN_LOSS = 20.0

TINY = 1e-9


class Content(NamedTuple):
    """recent, lasting: contents of the two running statistics, (..., C). frequency: running mean
    prediction (..., C), each frame weighing the same. variety: (...)."""

    recent: Tensor
    lasting: Tensor
    frequency: Tensor
    variety: Tensor


def unknown(classes: int, like: Tensor) -> Content:
    """Before the first frame: every class alike, predictions certain."""
    uniform = torch.full_like(like.new_empty(classes), 1 / classes)
    return Content(uniform, uniform.clone(), uniform.clone(), like.new_ones(()))


def mean_prediction(logits: Tensor) -> Tensor:
    """Of a batch's logits (..., n, C), as probabilities (..., C)."""
    return logits.softmax(-1).mean(-2)


def believed_frequency(
    content: Content, step: Tensor, config: MethodConfig, doubt: float
) -> Tensor:
    """Frequencies of the classes, (..., C), as far as chance does not explain them.

    step: frames so far. doubt: frames of each class that are taken for seen beforehand.
    """
    frequency = content.frequency
    classes = frequency.shape[-1]
    uniform = 1 / classes
    m = config.lasting_smoothing
    seen = step.to(frequency.dtype)[..., None]
    gap = (frequency - uniform).square().sum(-1, keepdim=True)
    # Variance of an exponential mean: (1 - m) / (1 + m) of that of its terms.
    independent = seen.clamp_max((1 + m) / max(1 - m, TINY))
    chance = content.variety[..., None] / (independent * gap).clamp_min(TINY)
    drawn = uniform + (1 - chance).clamp_min(0) * (frequency - uniform)
    seen = seen.clamp_max(1 / max(1 - m, TINY))
    return (seen * drawn + doubt) / (seen + doubt * classes)


def rarity(p: Tensor, frequency: Tensor) -> Tensor:
    """Weight of frames by their predictions p (..., n, C), (..., n), in (0, 1].

    One where the predicted class has been no more frequent than the others, else the inverse of
    how many times more. frequency: (..., C).
    """
    expected = (p * frequency[..., None, :]).sum(-1)
    return (1 / (p.shape[-1] * expected).clamp_min(TINY)).clamp_max(1)


def share_of_lasting(content: Content) -> Tensor:
    """Of the frames' spread, what is left in the lasting statistics' distance from the source's,
    (..., 1)."""
    lasting = _gap(content.lasting)
    return _in_variety(content, lasting, lasting)


def share_of_recent(content: Content, trust: Tensor) -> Tensor:
    """Of the frames' spread, what is left in the distance of the recent statistics from those
    that lie between the source's (trust 0) and the lasting ones (trust 1).

    trust: (..., K), one for each distance. Returns (..., K).
    """
    recent, lasting = _gap(content.recent), _gap(content.lasting)
    # |recent - trust lasting|^2, without an axis of classes for each trust.
    square = (
        _in_variety(content, recent, recent)
        - 2 * trust * _in_variety(content, recent, lasting)
        + trust.square() * _in_variety(content, lasting, lasting)
    )
    return square.clamp_min(0)


def sameness(content: Content) -> Tensor:
    """How alike the predictions have been, (..., 1) in [0, 1]: 1 - their relative variance."""
    gap = _gap(content.frequency)
    return _in_variety(content, gap, gap).clamp_max(1)


def _gap(shown: Tensor) -> Tensor:
    """From uniform, (..., C)."""
    return shown - 1 / shown.shape[-1]


def _in_variety(content: Content, a: Tensor, b: Tensor) -> Tensor:
    """a . b of two gaps (..., C), in units of the variety, (..., 1)."""
    return (a * b).sum(-1, keepdim=True) / content.variety.clamp_min(TINY)[..., None]


def updated(
    content: Content, p: Tensor, weights: tuple[Tensor, Tensor], step: Tensor, config: MethodConfig
) -> Content:
    """After a batch of mean prediction p (..., C); weights (..., 1): that it has in the recent and
    in the lasting statistics."""
    at = step[..., None]
    every = 1 - moments.smoothing_at(at, config.lasting_smoothing, TINY)
    once = 1 - moments.smoothing_at(step, config.lasting_smoothing, 1)
    found = (p - 1 / p.shape[-1]).square().sum(-1)
    return Content(
        content.recent + weights[0] * (p - content.recent),
        content.lasting + weights[1] * (p - content.lasting),
        content.frequency + every * (p - content.frequency),
        content.variety + once * (found - content.variety),
    )
