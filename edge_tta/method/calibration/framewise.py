"""Framewise calibration: a frame's own statistics, as far as the stream has left the source.

A picture of a street, or of many objects, holds enough positions for statistics of its own (Pred BN
at N = 1). But what is in a picture moves them too, the more the deeper a layer is, and on clean
frames the source's are better. So each layer compares how far the stream's mean stands from the
source (`distance`) with how far single frames wander about that mean (`spread`):

    mean     = source + strength s (stream + alpha (frame - stream) - source)
    variance = source + strength s (stream - source)
    s        = max(0, 1 - (least / ratio)^2),      ratio = distance / spread
    least    = max(anchor, onset x the largest ratio of this layer and those in front)

Layers that a disturbance moves further than pictures do are calibrated; layers whose statistics
wander as far by themselves carry content, and stay the source's, and so do those that show much
less of a disturbance than the layers where it comes in. All is measured while the layers in front
are normalised as they are used: where those have taken the disturbance out, the next find nothing
to do.

Gaps of means are in units of the source's standard deviation, variances are taken by their
logarithms, and distances are means of squares over a layer's channels. The ratio is that of the
means or of the variances, whichever is larger, and s holds for both: a variance that is calibrated
alone would enlarge what is left of the gap of the means. A frame's brightness is its own; how much
it varies is more its content, and left to the stream.

The batch counts as one frame. Axes: C channels of a layer, or of all; (2 L,) means and variances of
L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edge_tta.method.calibration.base import Choice, Collected, Rule
from edge_tta.method.moments import smoothing_at
from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm

LARGEST = (6.0, 4.0)
"""A frame counts as no further from the source: gaps in standard deviations, log ratios."""

FIRST_SPREAD = (0.15, 0.5)
"""Spread of means and variances that is assumed before the second frame."""

FIRST_WEIGHT = 0.25
"""Frames that it counts as, afterwards."""

TINY = 1e-9


class Framewise:
    """The layers that are calibrated together, and how strongly.

    Args: as in `edge_tta.config.CalibrationConfig`.
    """

    by_frame = False

    def __init__(
        self,
        layers: Sequence[BatchNorm],
        *,
        smoothing: float,
        alpha: float,
        anchor: float,
        onset: float,
        strength: float,
    ) -> None:
        self._smoothing, self._alpha = smoothing, alpha
        self._anchor, self._onset, self._strength = anchor, onset, strength
        self._source = torch.cat([layer.variance + layer.eps for layer in layers])
        self._eps = torch.cat([torch.full_like(layer.variance, layer.eps) for layer in layers])
        self._names = [layer.name for layer in layers]
        self._counts = [layer.channels for layer in layers]
        device = self._source.device
        self._lengths = torch.tensor(self._counts, device=device)
        numbers = torch.arange(len(layers), device=device)
        self._layer = torch.repeat_interleave(numbers, self._lengths)
        self._in_front = torch.ones(len(layers), len(layers), device=device).tril()

    def initial(self) -> State:
        """Return a stream that stands at the source."""
        zeros = torch.zeros_like(self._source)
        spread = zeros.new_tensor(FIRST_SPREAD).repeat_interleave(len(self._names))
        return {"calib.gap": zeros, "calib.ratio": zeros.clone(), "calib.spread": spread}

    def statistics(self, state: State) -> Moments:
        """Return the statistics that a stream stands for, without a frame, (C,) each."""
        stream = state["calib.gap"], state["calib.ratio"]
        factor = self._factor(stream, state["calib.spread"])
        gap, ratio = (factor * part for part in stream)
        return self._moments(gap, ratio, self._source, self._eps)

    def expected(self, state: State) -> Tensor:
        """Return the stream's."""
        return state["calib.gap"] * self._source.sqrt()

    def rule(self, state: State) -> Rule:
        """Return the formula above, of the stream with the frame in it."""
        counts, layers = self._counts, len(self._names)
        parts = (torch.split(state[name], counts) for name in ("calib.gap", "calib.ratio"))
        streams = dict(zip(self._names, zip(*parts, strict=True), strict=True))
        spread = state["calib.spread"].view(2, layers).unbind(1)
        spreads = dict(zip(self._names, spread, strict=True))
        weight = self._weight(state)
        largest: list[Tensor] = [torch.zeros_like(state["calib.spread"][0])]  # of the layers so far

        def framewise(layer: BatchNorm, history: Moments, batch: Moments) -> Choice:
            source = layer.variance + layer.eps
            frame = _coordinates(batch, source, layer.eps)
            stream = [
                old + weight * (new - old)
                for old, new in zip(streams[layer.name], frame, strict=True)
            ]
            distance = torch.stack([part.square().mean() for part in stream])
            ratio = (distance / spreads[layer.name].clamp_min(TINY)).amax(0)
            largest[0] = torch.maximum(largest[0], ratio)
            factor = self._shrinkage(ratio, largest[0])
            gap = factor * (stream[0] + self._alpha * (frame[0] - stream[0]))
            return Choice(self._moments(gap, factor * stream[1], source, layer.eps), batch)

        return framewise

    def shifted(self, state: State, shift: Callable[[Moments], Moments]) -> State:
        """Return nothing: parameters move less than frames do."""
        return {}

    def updated(self, state: State, collected: Collected) -> State:
        """Return the stream and its spread with a frame more."""
        frame = _coordinates(collected.history, self._source, self._eps)
        weight, old = self._weight(state), (state["calib.gap"], state["calib.ratio"])
        deviation = [new - at for new, at in zip(frame, old, strict=True)]
        gap, ratio = (at + weight * d for at, d in zip(old, deviation, strict=True))
        # About a mean of n frames, a frame stands (n + 1) / n as far as about the true one.
        here = self._layer_means(*deviation) * (1 - weight)
        spread = state["calib.spread"]
        first = (state["steps"] == 0)[..., None]
        weight = 1 - smoothing_at(state["steps"][..., None] - 1, self._smoothing, FIRST_WEIGHT)
        spread = torch.where(first, spread, spread + weight * (here - spread))
        return {"calib.gap": gap, "calib.ratio": ratio, "calib.spread": spread}

    def _weight(self, state: State) -> Tensor:
        """Return a frame's weight in the stream, (1,): the first are averaged."""
        step = state["steps"][..., None]
        return 1 - torch.where(step == 0, 0.0, smoothing_at(step, self._smoothing, TINY))

    def _factor(self, stream: Moments, spread: Tensor) -> Tensor:
        """Return strength s of each channel's layer, (C,)."""
        ratio = (self._layer_means(*stream) / spread.clamp_min(TINY)).view(2, -1).amax(0)
        factor = self._shrinkage(ratio, (ratio * self._in_front).amax(1))
        return factor.index_select(0, self._layer)

    def _shrinkage(self, ratio: Tensor, largest: Tensor) -> Tensor:
        """Return strength s of ratios and the largest so far, of one shape."""
        least = (self._onset * largest).clamp_min(self._anchor)
        return self._strength * (1 - (least / ratio.clamp_min(TINY)).square()).clamp_min(0)

    def _layer_means(self, gap: Tensor, ratio: Tensor) -> Tensor:
        """Return mean squares over each layer's channels, (2 L,): of means, then of variances."""
        means = (
            torch.segment_reduce(part.square(), "mean", lengths=self._lengths, axis=0, unsafe=True)
            for part in (gap, ratio)
        )
        return torch.cat(list(means))

    @staticmethod
    def _moments(gap: Tensor, ratio: Tensor, source: Tensor, eps: Tensor | float) -> Moments:
        """Return the moments of a gap and a log ratio, (C,) each."""
        return gap * source.sqrt(), (source * ratio.exp() - eps).clamp_min(0)


def _coordinates(frame: Moments, source: Tensor, eps: Tensor | float) -> Moments:
    """Return gap and log ratio of moments (C,), limited; source: variance + eps, (C,)."""
    gap, ratio = frame[0] / source.sqrt(), ((frame[1] + eps) / source).log()
    return gap.clamp(-LARGEST[0], LARGEST[0]), ratio.clamp(-LARGEST[1], LARGEST[1])
