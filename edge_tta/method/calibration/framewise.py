"""Framewise calibration: each frame's moments, and the stream's, in the layers of fine resolution.

A picture of a street, or of many objects, holds enough positions for statistics of its own. What is
in a picture moves them too, the more the coarser a layer's map is: layers whose map has less than a
`coarsest`-th of the image's positions stay as trained. The others normalise with

    mean     = source + strength (stream + alpha (frame - stream) - source)
    variance = source^(1 - strength) (within + (1 - alpha)^2 between)^strength

stream: the running mean, Eq. 5. within: the running mean of the frames' variances. between: the
variance of their means. Eq. 5 keeps the sum of both, which is what a network is trained with; the
frame's own part in the mean leaves so much less of the second. Without `between`, frames as in the
training would count as less contrast than the source's.

alpha = 0: the statistics are those before the frame, so that the network can be folded, and what is
kept is Eq. 5. Else the frame counts in its own.

The batch counts as one frame. Axes: C channels of a layer, or of all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from edge_tta.method import moments
from edge_tta.method.calibration.base import Choice, Collected, Rule
from edge_tta.method.moments import smoothing_at
from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm

LARGEST = 6.0
"""A frame's mean counts as no further from the source, in standard deviations."""

SMALLEST = 1e-3
"""Variances count as no smaller, relative to the source's."""


class Framewise:
    """The layers that are calibrated together, and how strongly.

    Args:
        strides: total stride of each layer, at its finest use (`edge_tta.network.resolution`).
        others: as in `edge_tta.config.CalibrationConfig`.
    """

    def __init__(
        self,
        layers: Sequence[BatchNorm],
        strides: Sequence[int],
        *,
        smoothing: float,
        prior_frames: float,
        alpha: float,
        strength: float,
        coarsest: float,
    ) -> None:
        self.by_frame = alpha == 0
        self._smoothing, self._prior_frames, self._alpha = smoothing, prior_frames, alpha
        self._names = [layer.name for layer in layers]
        self._counts = [layer.channels for layer in layers]
        self._source = torch.cat([layer.variance for layer in layers])
        self._eps = torch.cat([torch.full_like(layer.variance, layer.eps) for layer in layers])
        shares = [strength if stride <= coarsest else 0.0 for stride in strides]
        self._strength = torch.cat(
            [torch.full_like(a.variance, s) for a, s in zip(layers, shares, strict=True)]
        )
        self._by_layer = dict(zip(self._names, shares, strict=True))
        self.unused: Collection[str] = frozenset(
            name for name, share in self._by_layer.items() if not share
        )

    def initial(self) -> State:
        """Return a stream that stands at the source."""
        zeros = torch.zeros_like(self._source)
        state = {"calib.offset": zeros, "calib.variance": self._source.clone()}
        return state if self.by_frame else {**state, "calib.between": zeros.clone()}

    def statistics(self, state: State) -> Moments:
        """Return the statistics that a stream stands for, without a frame, (C,) each."""
        variance = state["calib.variance"]
        offset = self._strength * state["calib.offset"]
        return offset, self._towards(variance, self._source, self._eps, self._strength)

    def expected(self, state: State) -> Moments:
        """Return the stream's."""
        return state["calib.offset"], state["calib.variance"]

    def rule(self, state: State) -> Rule | None:
        """Return the formula above, of the stream with the frame in it; alpha = 0: none."""
        if self.by_frame:
            return None
        names = ("calib.offset", "calib.variance", "calib.between")
        parts = (torch.split(state[name], self._counts) for name in names)
        streams = dict(zip(self._names, zip(*parts, strict=True), strict=True))
        old = self._weight_of_old(state)

        def framewise(layer: BatchNorm, history: Moments, batch: Moments) -> Choice:
            offset, variance, between = streams[layer.name]
            frame = _limited(batch, layer.variance + layer.eps)
            offset, variance, between = _blended((offset, variance), between, frame, old)
            alpha, strength = self._alpha, self._by_layer[layer.name]
            mean = strength * (offset + alpha * (frame[0] - offset))
            left = variance - alpha * (2 - alpha) * between
            used = self._towards(left, layer.variance, layer.eps, strength)
            return Choice((mean, used), frame)

        return framewise

    def shifted(self, state: State, shift: Callable[[Moments], Moments]) -> State:
        """Return nothing: parameters move less than frames do."""
        return {}

    def updated(self, state: State, collected: Collected) -> State:
        """Return the stream with a frame more, of the layers that are calibrated."""
        stream, old = (state["calib.offset"], state["calib.variance"]), self._weight_of_old(state)
        if self.by_frame:
            frame = _limited(moments.pooled(collected.frames), self._source + self._eps)
            parts: Sequence[Tensor] = moments.blend(stream, frame, old)
        else:
            parts = _blended(stream, state["calib.between"], collected.history, old)
        names = ("calib.offset", "calib.variance", "calib.between")[: len(parts)]
        return {
            name: torch.where(self._strength > 0, part, state[name])
            for name, part in zip(names, parts, strict=True)
        }

    def _weight_of_old(self, state: State) -> Tensor:
        """Return the stream's weight beside a frame, (1,): the first frames are averaged."""
        return smoothing_at(state["steps"][..., None], self._smoothing, self._prior_frames)

    @staticmethod
    def _towards(
        variance: Tensor, source: Tensor, eps: Tensor | float, strength: Tensor | float
    ) -> Tensor:
        """Return the geometric mean of the source's variance and another, by strength."""
        base = source + eps
        ratio = ((variance + eps) / base).clamp_min(SMALLEST)
        return (base * (strength * ratio.log()).exp() - eps).clamp_min(0)


def _limited(frame: Moments, source: Tensor) -> Moments:
    """Return a frame's moments, no mean far beyond the source's; source: variance + eps."""
    reach = LARGEST * source.sqrt()
    return frame[0].minimum(reach).maximum(-reach), frame[1].minimum(LARGEST**2 * source)


def _blended(
    stream: Moments, between: Tensor, frame: Moments, old: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return offset and variance (Eq. 5), and the part of the latter between frames' means."""
    gap = frame[0] - stream[0]
    offset, variance = moments.blend(stream, frame, old)
    return offset, variance, old * between + old * (1 - old) * gap * gap
