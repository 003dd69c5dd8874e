"""Anchored calibration: statistics that leave the source only as far as chance cannot explain.

A camera's frames resemble each other. The running statistics of Eq. 5 then follow what is in the
picture (one class, one place), and a network normalised with them is worse than the source. Here
each layer holds two running statistics, `recent` (some twenty frames) and `lasting` (some five
hundred), and shrinks them (positive-part James-Stein estimates):

    lasting' = source   + s(lasting, source) (lasting - source)
    used     = lasting' + s(recent, lasting') (recent - lasting')
    s(a, b)  = max(0, 1 - max(anchor share, dead_zone) spread / distance(a, b))

distance: mean over a layer's channels of the squared gap of the means in units of the source
variance; for the variances, of their squared log ratio. spread: how far single frames stand
from the whole. It is their running distance from the lasting statistics, which a change of the
world adds to; or, where that is less, the one from the recent ones before them. Each is divided by
what the predictions have left of their variance at that: frames that are all alike stand close to
their own mean, wherever it is. Where the predictions of neighbours hardly differ, the second is not
asked. share: what part of it is still in the average, because the frames showed some classes more
than others (`edge_tta.method.calibration.class_balance`); of recent - lasting' it is that of
recent - source - s (lasting - source). The recent statistics have an anchor of their own.
dead_zone: a distance that proves nothing, however many frames it is of: networks were trained on
augmented pictures, and their statistics fit those.

Layers whose statistics follow what is in the picture stay near the source; layers that a
disturbance moves further than pictures do are calibrated almost fully, and all of them where the
frames are many and various. A change of light or weather moves `recent` beyond what the classes
shown explain at once, and `lasting` then tracks it. In `lasting` a frame of a class that has
been frequent weighs less.

The statistics used are known before the frame is seen. The frames of a batch update them one by
one, in their order. Vectors are flat: (C,) the channels of all layers, (2 L,) means and variances
of L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.method import moments
from edge_tta.method.calibration import class_balance
from edge_tta.method.calibration.base import Collected
from edge_tta.method.calibration.class_balance import ClassBalance
from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm

# Of the running spread: classes come and go, and their dispersion is to be remembered.
SPREAD_SMOOTHING = 0.998

# A frame's statistics count as no further from the lasting ones, in units of their variance: a
# network makes values out of all proportion of some frames, and one would outweigh hundreds.
LARGEST = 32.0

# Share of the predictions' variance below which a stream's frames are taken for one.
LEAST_VARIANCE = 0.02

# Share of it below which neighbours say nothing of the spread: where pictures hardly change, what
# they differ in is another thing than what the classes do.
LEAST_AMONG_NEIGHBOURS = 0.2

# The spread assumed before the first frame, of means and variances; it counts as one frame.
FIRST_SPREAD = (0.1, 0.2)

# Shrinkage factors of means and of variances, (C,) each, in [0, 1].
Factors = tuple[Tensor, Tensor]


class Memory(NamedTuple):
    """Memory of the stream: statistics (C,) each, squared distances (2 L,) of single frames from
    the lasting and from the recent statistics before them, classes shown."""

    recent: Moments
    lasting: Moments
    from_lasting: Tensor
    from_recent: Tensor
    classes: ClassBalance


class Anchored:
    """The layers that are calibrated together, and how strongly.

    Args: as in `edge_tta.config.CalibrationConfig`; anchors: of the lasting and of the recent
        statistics.
    """

    by_frame = True
    unused: Collection[str] = ()

    def __init__(
        self,
        layers: Sequence[BatchNorm],
        *,
        classes: int,
        smoothing: float = 0.98,
        lasting_smoothing: float = 0.998,
        prior_frames: float = 0.0,
        anchors: tuple[float, float] = (2.0, 3.0),
        dead_zone: float = 0.15,
        tracking_rate: float = 0.5,
    ) -> None:
        self.lasting_smoothing = lasting_smoothing
        self._classes, self._smoothing, self._prior_frames = classes, smoothing, prior_frames
        self._anchors, self._dead_zone, self._tracking_rate = anchors, dead_zone, tracking_rate
        self._source = torch.cat([layer.variance for layer in layers])
        self._eps = torch.cat([torch.full_like(layer.variance, layer.eps) for layer in layers])
        self._counts = torch.tensor(
            [layer.channels for layer in layers], device=self._source.device
        )
        self._layer = torch.repeat_interleave(
            torch.arange(len(layers), device=self._counts.device), self._counts
        )

    def initial(self) -> State:
        """Return the source's statistics, and every class alike."""
        offset, variance = torch.zeros_like(self._source), self._source
        spread = variance.new_tensor(FIRST_SPREAD).repeat_interleave(len(self._counts))
        classes = class_balance.initial(self._classes, variance)
        return _packed(
            Memory(
                recent=(offset, variance.clone()),
                lasting=(offset.clone(), variance.clone()),
                from_lasting=spread,
                from_recent=spread.clone(),
                classes=classes,
            )
        )

    def statistics(self, state: State) -> Moments:
        """Return the shrunk estimate that a state stands for, (C,) each."""
        used, _ = self.shrunk(unpacked(state))
        return used

    def expected(self, state: State) -> Moments:
        """Return the recent ones."""
        return unpacked(state).recent

    def rule(self, state: State) -> None:
        """Return none: the estimate is used as it was before the frame."""

    def shifted(self, state: State, shift: Callable[[Moments], Moments]) -> State:
        """Return both running statistics shifted."""
        memory = unpacked(state)
        return _packed(memory._replace(recent=shift(memory.recent), lasting=shift(memory.lasting)))

    def updated(self, state: State, collected: Collected) -> State:
        """Return what is remembered after the frames of a pass."""
        memory = unpacked(state)
        for frame, p in zip(collected.frames, collected.predictions.unbind(), strict=True):
            memory = self.update(memory, frame, p)
        return _packed(memory)

    def shrunk(self, memory: Memory) -> tuple[Moments, Factors]:
        """Return the statistics to normalise with, and the recent ones' shrinkage factors."""
        source = torch.zeros_like(memory.lasting[0]), self._source
        spread = self._spread(memory)
        share = class_balance.share_in_lasting(memory.classes)
        noise = (self._anchors[0] * share).clamp_min(self._dead_zone) * spread
        centre, factors = self._towards(memory.lasting, source, noise)
        share = class_balance.share_in_recent(memory.classes, factors)
        noise = (self._anchors[1] * share).clamp_min(self._dead_zone) * spread
        used, factors = self._towards(memory.recent, centre, noise)
        of_means, of_variances = factors.chunk(2, -1)
        return used, (self._by_channel(of_means), self._by_channel(of_variances))

    def update(self, memory: Memory, frame: Moments, p: Tensor) -> Memory:
        """Return what is remembered after one more frame.

        Args:
            frame: moments of the frame, (C,) each.
            p: mean probabilities of its views, (classes,).
        """
        classes = memory.classes
        at = classes.frames[..., None]
        frame = self._limited(frame, memory.lasting)
        weight = 1 - moments.smoothing_at(at, SPREAD_SMOOTHING, 1)
        from_lasting = self._layer_means(*self._gaps(frame, memory.lasting))
        from_lasting = memory.from_lasting + weight * (from_lasting - memory.from_lasting)
        from_recent = self._layer_means(*self._gaps(frame, memory.recent))
        from_recent = memory.from_recent + weight * (from_recent - memory.from_recent)
        frequency = class_balance.shrunk_frequency(
            classes, self.lasting_smoothing, class_balance.PRIOR_FRAMES
        )
        balance = class_balance.class_balance_weight(p[..., None, :], frequency)
        in_recent = 1 - moments.smoothing_at(at, self._smoothing, self._prior_frames / 4)
        in_lasting = 1 - moments.smoothing_at(at, self.lasting_smoothing, self._prior_frames)
        in_lasting = in_lasting * balance
        recent = moments.blend(memory.recent, frame, 1 - in_recent)
        lasting = moments.blend(memory.lasting, frame, 1 - in_lasting)
        classes = class_balance.updated(classes, p, (in_recent, in_lasting), self.lasting_smoothing)
        new = Memory(recent, lasting, from_lasting, from_recent, classes)
        _, factors = self.shrunk(new)
        follow = [self._tracking_rate * balance * part for part in factors]
        offset = lasting[0] + follow[0] * (recent[0] - lasting[0])
        variance = lasting[1] + follow[1] * (recent[1] - lasting[1])
        share = (follow[0].mean(-1, keepdim=True) + follow[1].mean(-1, keepdim=True)) / 2
        tracked = classes.lasting + share * (classes.recent - classes.lasting)
        return new._replace(lasting=(offset, variance), classes=classes._replace(lasting=tracked))

    def _spread(self, memory: Memory) -> Tensor:
        """Return the estimate of single frames' spread, (2 L,)."""
        left, among_neighbours = class_balance.variance_left(memory.classes)
        spread = memory.from_lasting / left.clamp_min(LEAST_VARIANCE)
        of_neighbours = memory.from_recent / among_neighbours.clamp_min(LEAST_VARIANCE)
        known = among_neighbours >= LEAST_AMONG_NEIGHBOURS
        return torch.where(known, spread.minimum(of_neighbours), spread)

    def _limited(self, frame: Moments, about: Moments) -> Moments:
        """Return a frame's statistics, no channel further from `about` than LARGEST allows."""
        variance = about[1] + self._eps
        reach = (LARGEST * variance).sqrt()
        gap = (frame[0] - about[0]).minimum(reach).maximum(-reach)
        return about[0] + gap, frame[1].minimum(LARGEST * variance)

    def _towards(self, running: Moments, centre: Moments, noise: Tensor) -> tuple[Moments, Tensor]:
        """Return running statistics shrunk towards a centre, and the factors (2 L,) in [0, 1].

        noise: the distance that chance explains, (2 L,).
        """
        gap, ratio = self._gaps(running, centre)
        distance = self._layer_means(gap, ratio)
        least = torch.finfo(distance.dtype).tiny
        factors = (1 - noise / distance.clamp_min(least)).clamp_min(0)
        of_means, of_variances = factors.chunk(2, -1)
        offset = centre[0] + self._by_channel(of_means) * gap
        base = centre[1] + self._eps
        variance = base * (self._by_channel(of_variances) * ratio).exp() - self._eps
        return (offset, variance.clamp_min(0)), factors

    def _gaps(self, a: Moments, b: Moments) -> tuple[Tensor, Tensor]:
        """Return the gaps of the means, and the log ratios of the variances, (C,) each."""
        return a[0] - b[0], ((a[1] + self._eps) / (b[1] + self._eps)).log()

    def _layer_means(self, gap: Tensor, ratio: Tensor) -> Tensor:
        """Return squared distances of means, then of variances: layers' means over channels."""
        of_means = gap.square() / (self._source + self._eps)
        return torch.cat([self._layer_mean(of_means), self._layer_mean(ratio.square())], -1)

    def _layer_mean(self, values: Tensor) -> Tensor:
        """Return the mean over each layer's channels, (C,) -> (L,)."""
        return torch.segment_reduce(values, "mean", lengths=self._counts, axis=0, unsafe=True)

    def _by_channel(self, values: Tensor) -> Tensor:
        """Return each channel's layer's value, (L,) -> (C,)."""
        return values.index_select(-1, self._layer)


def unpacked(state: State) -> Memory:
    """Return what a state remembers of anchored calibration."""
    return Memory(
        (state["calib.recent_offset"], state["calib.recent_variance"]),
        (state["calib.lasting_offset"], state["calib.lasting_variance"]),
        state["calib.from_lasting"],
        state["calib.from_recent"],
        ClassBalance(*(state[f"calib.classes.{name}"] for name in ClassBalance._fields)),
    )


def _packed(memory: Memory) -> State:
    return {
        "calib.recent_offset": memory.recent[0],
        "calib.recent_variance": memory.recent[1],
        "calib.lasting_offset": memory.lasting[0],
        "calib.lasting_variance": memory.lasting[1],
        "calib.from_lasting": memory.from_lasting,
        "calib.from_recent": memory.from_recent,
        **{f"calib.classes.{name}": value for name, value in memory.classes._asdict().items()},
    }
