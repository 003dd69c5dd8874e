"""Source statistics of BatchNorms, measured again on frames of good conditions.

The statistics that a network comes with are those of its training: of augmented pictures, of all
places. On frames (M) of the place where it will run, each BatchNorm's input z gets the mean and
variance that it has there, and gamma and beta are set so that the function is unchanged:

    gamma' = gamma * sqrt((variance' + eps) / (variance + eps))
    beta'  = beta + gamma * (mean' - mean) / sqrt(variance + eps)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edge_tta import nest
from edge_tta.errors import ModelError
from edge_tta.network.checking import evaluating

TOLERANCE = 1e-4
"""Largest allowed difference of outputs before and after, relative to the largest output."""
FEWEST = 8
"""Source frames below which a variance says nothing."""
USUAL = 500
"""Source frames that are enough."""

_COMPARED = 4
_Norm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Measured:
    """What was measured: how many layers, on how many frames, and how far outputs moved.

    uncertainty: mean over the layers of a channel mean's standard error between frames, in the
        channel's own standard deviations.
    """

    layers: int
    frames: int
    difference: float
    uncertainty: float


def measure(
    module: nn.Module,
    images: Iterable[Tensor],
    tell: Callable[[int], None] = lambda count: None,
) -> Measured:
    """Set the statistics of a module's BatchNorms to those of images, in place.

    The function stays. A BatchNorm without scale and shift keeps the statistics that it has.

    Args:
        images: of the source domain, unlabelled, each (1, channels, H, W), normalised.
        tell: is told of each image.

    Raises:
        ModelError: too few images, no BatchNorm, values that are not finite, or a function that
            changed beyond `TOLERANCE`.
    """
    norms = {name: m for name, m in evaluating(module).named_modules() if _is_movable(m)}
    if not norms:
        raise ModelError(
            "the network has no BatchNorm layer with statistics, scale and shift; expected one "
            "that source frames can be measured for"
        )
    moments = {name: _Moments() for name in norms}
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, own=moments[name]: own.add(given[0]))
        for name, norm in norms.items()
    ]
    kept: list[tuple[Tensor, Any]] = []
    count = 0
    try:
        with torch.no_grad():
            for count, image in enumerate(images, 1):
                outputs = module(image)
                if count <= _COMPARED:
                    kept.append((image, outputs))
                tell(count)
    finally:
        for hook in hooks:
            hook.remove()
    if count < FEWEST:
        raise too_few(count)
    uncertainties = [_set(name, norm, moments[name]) for name, norm in norms.items()]
    difference = _difference(module, kept)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"with statistics of the source frames the network differs by {difference:.1e} "
            f"(relative), more than {TOLERANCE:g}; expected outputs that are not this sensitive to "
            "rounding"
        )
    return Measured(len(norms), count, difference, sum(uncertainties) / len(norms))


def too_few(count: int) -> ModelError:
    """Return the error of so many source frames, fewer than `FEWEST`."""
    return ModelError(
        f"{count} source frames are too few for statistics; expected {FEWEST} at least, {USUAL} if "
        "there are so many"
    )


def _is_movable(module: nn.Module) -> bool:
    return (
        isinstance(module, _Norm) and module.running_mean is not None and module.weight is not None
    )


def _set(name: str, norm: nn.Module, moments: _Moments) -> float:
    """Set a BatchNorm's statistics, and return how uncertain their means are."""
    if not moments.frames:
        return 0.0  # it is not called in evaluation mode
    if not (moments.mean + moments.variance).isfinite().all():
        raise ModelError(
            f"BatchNorm {name} is given values that are not finite on the source frames; check "
            "their --scale"
        )
    norm_: Any = norm
    with torch.no_grad():
        old = norm_.running_mean.double(), (norm_.running_var.double() + norm_.eps).sqrt()
        deviation = (moments.variance + norm_.eps).sqrt()
        scale, shift = norm_.weight.double(), norm_.bias.double()
        norm_.bias.copy_(shift + scale * (moments.mean - old[0]) / old[1])
        norm_.weight.copy_(scale * deviation / old[1])
        norm_.running_mean.copy_(moments.mean)
        norm_.running_var.copy_(moments.variance)
    return float((moments.between / moments.frames).sqrt().div(deviation).mean())


class _Moments:
    """Mean and variance of each channel over all frames' positions, in float64."""

    def __init__(self) -> None:
        self.frames = 0
        self._positions = 0
        self._about = torch.zeros(0)
        self._sums: list[Tensor] = []

    def add(self, value: Tensor) -> None:
        """Add the values (N, channels, ...) of a frame."""
        flat = value.double().transpose(0, 1).flatten(1)
        if not self.frames:
            self._about = flat.mean(1)
            self._sums = [torch.zeros_like(self._about) for _ in range(3)]
        centred = flat - self._about[:, None]
        self._sums[0] += centred.sum(1)
        self._sums[1] += centred.square().sum(1)
        self._sums[2] += centred.mean(1).square()
        self._positions += flat.shape[1]
        self.frames += 1

    @property
    def _shift(self) -> Tensor:
        return self._sums[0] / self._positions

    @property
    def mean(self) -> Tensor:
        """Mean of each channel."""
        return self._about + self._shift

    @property
    def variance(self) -> Tensor:
        """Variance of each channel."""
        return (self._sums[1] / self._positions - self._shift.square()).clamp(min=0)

    @property
    def between(self) -> Tensor:
        """Variance between frames of each channel's mean."""
        return (self._sums[2] / self.frames - self._shift.square()).clamp(min=0)


def _difference(module: nn.Module, kept: Iterable[tuple[Tensor, Any]]) -> float:
    worst = 0.0
    with torch.no_grad():
        for image, before in kept:
            for new, old in zip(nest.leaves(module(image)), nest.leaves(before), strict=True):
                if not isinstance(old, Tensor):
                    continue
                scale = max(float(old.abs().max()), 1e-12)
                worst = max(worst, float((new - old).abs().max()) / scale)
    return worst
