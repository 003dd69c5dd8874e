"""Anchored calibration: statistics that leave the source only as far as chance cannot explain.

A camera's frames resemble each other. The running statistics of Eq. 5 then follow what is in the
picture (one class, one place), and a network normalised with them is worse than the source. Here
each layer holds two running statistics, `recent` (some twenty frames) and `lasting` (some five
hundred), and believes them by a positive-part James-Stein estimate:

    lasting' = source   + l(lasting, source) (lasting - source)
    used     = lasting' + l(recent, lasting') (recent - lasting')
    l(a, b)  = max(0, 1 - anchor spread / distance(a, b))

distance: mean over a layer's channels of the squared gap of the means in units of the source
variance; for the variances, of their squared log ratio. spread: the running distance of single
frames from the lasting statistics. If a stream holds no more than 1 / anchor independent frames at
a time, its mean misses the true one by about anchor spread; a distance of that size proves nothing.
Layers whose statistics follow what is in the picture stay near the source; layers that a
disturbance moves further than pictures do are calibrated almost fully. A change of light or weather
moves `recent` beyond its own spread at once, and `lasting` then catches up with it.

A scene that stands still tells nothing with its next frame: each layer weighs a frame by its news,
its distance from the recent statistics up to one that is usual for pictures.

The statistics used are known before the frame is seen. Vectors are flat: (..., C) the channels of
all layers, (..., 2 L) means and variances of L layers; the dots are an axis of streams, if any.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method import moments
from edge_tta.method.moments import Moments
from edge_tta.network.program import BatchNorm

# Of the running spread: classes come and go, and their variety is to be remembered.
SPREAD_SMOOTHING = 0.998

# Squared distances of means and of log variances from which on a frame is all news. Single pictures
# of real data stand off by 0.02 to 0.4 and 0.07 to 1.7, by network and layer.
ALL_NEWS = (0.05, 0.1)

# The spread taken for granted before the first frame; it counts as one frame.
FIRST_SPREAD = (0.1, 0.2)


# How far statistics are believed: their means and their variances, (..., C) each, in [0, 1].
Trust = tuple[Tensor, Tensor]


class Anchor:
    """The layers that are calibrated together, and how. Holds nothing that changes."""

    def __init__(self, layers: tuple[BatchNorm, ...], config: MethodConfig) -> None:
        self._config = config
        self._source = torch.cat([layer.variance for layer in layers])
        self._eps = torch.cat([torch.full_like(layer.variance, layer.eps) for layer in layers])
        counts = torch.tensor([layer.channels for layer in layers], device=self._source.device)
        self._layer = torch.repeat_interleave(
            torch.arange(len(layers), device=counts.device), counts
        )
        self._counts = counts.to(self._source.dtype)

    def believed(self, recent: Moments, lasting: Moments, spread: Tensor) -> tuple[Moments, Trust]:
        """The statistics to normalise with, and the trust in the recent. spread: (..., 2 L)."""
        source = torch.zeros_like(lasting[0]), self._source
        centre, _ = self._drawn(lasting, source, spread)
        return self._drawn(recent, centre, spread)

    def update(
        self, recent: Moments, lasting: Moments, spread: Tensor, batch: Moments, step: Tensor
    ) -> tuple[Moments, Moments, Tensor]:
        """recent, lasting and spread after a batch of frames; step: from 0, (...)."""
        config, at = self._config, step[..., None]
        news = self._news(batch, recent)
        found = torch.cat(self._distances(batch, lasting), -1)
        weight = 1 - moments.smoothing_at(at, SPREAD_SMOOTHING, 1)
        spread = spread + weight * torch.cat([news, news], -1) * (found - spread)
        news = news[..., self._layer]
        m = moments.smoothing_at(at, config.smoothing, config.prior_frames / 4)
        recent = moments.blend(recent, batch, 1 - (1 - m) * news)
        m = moments.smoothing_at(at, config.lasting_smoothing, config.prior_frames)
        lasting = moments.blend(lasting, batch, 1 - (1 - m) * news)
        _, trust = self.believed(recent, lasting, spread)
        share = [config.catch_up * news * part for part in trust]
        offset = lasting[0] + share[0] * (recent[0] - lasting[0])
        variance = lasting[1] + share[1] * (recent[1] - lasting[1])
        return recent, (offset, variance), spread

    def _news(self, batch: Moments, recent: Moments) -> Tensor:
        """How far a frame is from repeating the recent ones, 0 to 1, (..., L)."""
        of_means, of_variances = self._distances(batch, recent)
        shares = (of_means / ALL_NEWS[0]).clamp_max(1), (of_variances / ALL_NEWS[1]).clamp_max(1)
        return (shares[0] + shares[1]) / 2

    def _drawn(self, running: Moments, centre: Moments, spread: Tensor) -> tuple[Moments, Trust]:
        """Running statistics drawn to the centre as far as chance explains their distance."""
        noise = self._config.anchor * spread
        gap, ratio = self._gaps(running, centre)
        shares = []
        for size, chance in zip(self._sizes(gap, ratio), noise.chunk(2, -1), strict=True):
            tiny = torch.finfo(size.dtype).tiny
            share = (1 - chance / size.clamp_min(tiny)).clamp_min(0)
            shares.append(share[..., self._layer])
        offset = centre[0] + shares[0] * gap
        base = centre[1] + self._eps
        variance = (base * (shares[1] * ratio).exp() - self._eps).clamp_min(0)
        return (offset, variance), (shares[0], shares[1])

    def _distances(self, a: Moments, b: Moments) -> tuple[Tensor, Tensor]:
        """Of the means and of the variances, (..., L) each."""
        return self._sizes(*self._gaps(a, b))

    def _gaps(self, a: Moments, b: Moments) -> tuple[Tensor, Tensor]:
        """Of the means, and the log ratio of the variances, (..., C) each."""
        return a[0] - b[0], ((a[1] + self._eps) / (b[1] + self._eps)).log()

    def _sizes(self, gap: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Squared, means over each layer's channels, (..., L) each."""
        of_means = gap.square() / (self._source + self._eps)
        return self._mean(of_means), self._mean(ratio.square())

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over each layer's channels, (..., C) -> (..., L)."""
        total = values.new_zeros(*values.shape[:-1], len(self._counts))
        return total.index_add(-1, self._layer, values) / self._counts
