"""Anchored calibration: statistics that leave the source only as far as chance cannot explain.

A camera's frames resemble each other. The running statistics of Eq. 5 then follow what is in the
picture (one class, one place), and a network normalised with them is worse than the source. Here
each layer holds two running statistics, `recent` (some twenty frames) and `lasting` (some five
hundred), and believes them by a positive-part James-Stein estimate:

    lasting' = source   + l(lasting, source) (lasting - source)
    used     = lasting' + l(recent, lasting') (recent - lasting')
    l(a, b)  = max(0, 1 - max(anchor share, mismatch) spread / distance(a, b))

distance: mean over a layer's channels of the squared gap of the means in units of the source
variance; for the variances, of their squared log ratio. spread: the running distance of single
frames from the lasting statistics, over what the predictions have left of their variety: frames
that are all alike stand close to their own mean, wherever it is. share: what part of it is still in
the average, because the frames showed some classes more than others (`edge_tta.method.content`);
of recent - lasting' it is that of recent - source - l (lasting - source). `recent_anchor` stands in
anchor's place for the recent ones. mismatch: a distance that
proves nothing, however many frames it is of: networks were trained on augmented pictures, and their
statistics fit those.

Layers whose statistics follow what is in the picture stay near the source; layers that a
disturbance moves further than pictures do are calibrated almost fully, and all of them where the
frames are many and various. A change of light or weather moves `recent` beyond what its content
explains at once, and `lasting` then catches up with it. In `lasting` a frame of a class that has
been frequent weighs less.

The statistics used are known before the frame is seen. The frames of a batch are taken up one by
one, in their order, and a large batch is run in parts of MOST_TOGETHER. Vectors are flat: (..., C)
the channels of all layers, (..., 2 L) means and variances of L layers; the dots are an axis of
streams, if any.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method import content, moments
from edge_tta.method.content import Content
from edge_tta.method.moments import Moments
from edge_tta.network.program import BatchNorm

# Of the running spread: classes come and go, and their variety is to be remembered.
SPREAD_SMOOTHING = 0.998

# A frame's statistics count as no further from the lasting ones, in units of their variance: a
# network makes values out of all proportion of some frames, and one would outweigh hundreds.
LARGEST = 32.0

# Frames of a larger batch that are normalised with the same statistics; the next have those that
# these leave. Statistics are measured while the layers below are normalised as before: where many
# frames move all of them at once, each layer corrects what those below have corrected already.
MOST_TOGETHER = 8

# Share of the predictions' variety below which a stream's frames are taken for one.
LEAST_VARIETY = 0.02

# The spread taken for granted before the first frame; it counts as one frame.
FIRST_SPREAD = (0.1, 0.2)


# How far statistics are believed: their means and their variances, (..., C) each, in [0, 1].
Trust = tuple[Tensor, Tensor]


class Memories(NamedTuple):
    """What anchored calibration holds: statistics (..., C) each, spread (..., 2 L), contents."""

    recent: Moments
    lasting: Moments
    spread: Tensor
    content: Content


class Anchor:
    """The layers that are calibrated together, and how. Holds nothing that changes."""

    def __init__(self, layers: tuple[BatchNorm, ...], config: MethodConfig) -> None:
        self._config = config
        self._source = torch.cat([layer.variance for layer in layers])
        self._eps = torch.cat([torch.full_like(layer.variance, layer.eps) for layer in layers])
        self._counts = torch.tensor(
            [layer.channels for layer in layers], device=self._source.device
        )
        self._layer = torch.repeat_interleave(
            torch.arange(len(layers), device=self._counts.device), self._counts
        )

    def believed(self, held: Memories) -> tuple[Moments, Trust]:
        """The statistics to normalise with, and the trust in the recent."""
        config = self._config
        source = torch.zeros_like(held.lasting[0]), self._source
        # As a sample's variance is: measured about its own mean, the spread falls short by that.
        spread = held.spread / (1 - content.sameness(held.content)).clamp_min(LEAST_VARIETY)
        share = content.share_of_lasting(held.content)
        noise = (config.anchor * share).clamp_min(config.mismatch) * spread
        centre, lasts = self._drawn(held.lasting, source, noise)
        share = content.share_of_recent(held.content, lasts)
        noise = (config.recent_anchor * share).clamp_min(config.mismatch) * spread
        used, trust = self._drawn(held.recent, centre, noise)
        of_means, of_variances = trust.chunk(2, -1)
        return used, (self._each(of_means), self._each(of_variances))

    def update(self, held: Memories, batch: Moments, p: Tensor, step: Tensor) -> Memories:
        """What is held after one more frame, of these statistics; p: the mean prediction of its
        views; step: frames before it, (...)."""
        config, at = self._config, step[..., None]
        batch = self._limited(batch, held.lasting)
        found = self._distances(batch, held.lasting)
        news = 1 - moments.smoothing_at(at, SPREAD_SMOOTHING, 1)
        spread = held.spread + news * (found - held.spread)
        frequency = content.believed_frequency(held.content, step, config, content.FRAMES_OF_DOUBT)
        rarity = content.rarity(p[..., None, :], frequency)
        recently = 1 - moments.smoothing_at(at, config.smoothing, config.prior_frames / 4)
        news = 1 - moments.smoothing_at(at, config.lasting_smoothing, config.prior_frames)
        news = news * rarity
        recent = moments.blend(held.recent, batch, 1 - recently)
        lasting = moments.blend(held.lasting, batch, 1 - news)
        shown = content.updated(held.content, p, (recently, news), step, config)
        _, trust = self.believed(Memories(recent, lasting, spread, shown))
        follow = [config.catch_up * rarity * part for part in trust]
        offset = lasting[0] + follow[0] * (recent[0] - lasting[0])
        variance = lasting[1] + follow[1] * (recent[1] - lasting[1])
        share = (follow[0].mean(-1, keepdim=True) + follow[1].mean(-1, keepdim=True)) / 2
        shown = shown._replace(lasting=shown.lasting + share * (shown.recent - shown.lasting))
        return Memories(recent, (offset, variance), spread, shown)

    def _limited(self, batch: Moments, about: Moments) -> Moments:
        """A batch's statistics, no channel further from those than LARGEST allows."""
        variance = about[1] + self._eps
        reach = (LARGEST * variance).sqrt()
        gap = (batch[0] - about[0]).minimum(reach).maximum(-reach)
        return about[0] + gap, batch[1].minimum(LARGEST * variance)

    def _drawn(self, running: Moments, centre: Moments, noise: Tensor) -> tuple[Moments, Tensor]:
        """Running statistics drawn to the centre as far as noise (..., 2 L) explains their
        distance, and how far they are believed, (..., 2 L) in [0, 1]."""
        gap, ratio = self._gaps(running, centre)
        size = self._sizes(gap, ratio)
        trust = (1 - noise / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp_min(0)
        of_means, of_variances = trust.chunk(2, -1)
        offset = centre[0] + self._each(of_means) * gap
        base = centre[1] + self._eps
        variance = (base * (self._each(of_variances) * ratio).exp() - self._eps).clamp_min(0)
        return (offset, variance), trust

    def _distances(self, a: Moments, b: Moments) -> Tensor:
        """Of the means, then of the variances, (..., 2 L)."""
        return self._sizes(*self._gaps(a, b))

    def _gaps(self, a: Moments, b: Moments) -> tuple[Tensor, Tensor]:
        """Of the means, and the log ratio of the variances, (..., C) each."""
        return a[0] - b[0], ((a[1] + self._eps) / (b[1] + self._eps)).log()

    def _sizes(self, gap: Tensor, ratio: Tensor) -> Tensor:
        """Squared, means over each layer's channels, (..., 2 L)."""
        of_means = gap.square() / (self._source + self._eps)
        return torch.cat([self._mean(of_means), self._mean(ratio.square())], -1)

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over each layer's channels, (..., C) -> (..., L)."""
        counts = self._counts.expand(*values.shape[:-1], -1).contiguous()
        return torch.segment_reduce(
            values, "mean", lengths=counts, axis=values.ndim - 1, unsafe=True
        )

    def _each(self, values: Tensor) -> Tensor:
        """Each channel's layer's value, (..., L) -> (..., C)."""
        return values.index_select(-1, self._layer)
