"""Source statistics of BatchNorms, measured again on frames of good conditions.

The statistics that a network comes with are those of its training: of augmented pictures, of all
places. On frames (M) of the place where it will run, each BatchNorm's input z gets the mean and
variance that it has there, and gamma and beta are set so that the function is unchanged:

    gamma' = gamma * sqrt((variance' + eps) / (variance + eps))
    beta'  = beta + gamma * (mean' - mean) / sqrt(variance + eps)

Both compute the same as long as they normalise by these. Normalised by what the frames of a batch
have, which is what adaptation comes to, they differ; the one is taken that makes more of them
(`edge_tta.network.own_statistics`).
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from edge_tta import nest
from edge_tta.errors import ModelError
from edge_tta.network.checking import evaluating
from edge_tta.network.own_statistics import Norms, can_tell, worth_under_own_statistics
from edge_tta.tasks import Task

TOLERANCE = 1e-4
"""Largest allowed difference of outputs before and after, relative to the largest output."""
FEWEST = 8
"""Source frames below which a variance says nothing."""
USUAL = 500
"""Source frames that are enough."""

_COMPARED = 4
_SAMPLE = 192
_GAIN = 0.005
"""How much more a network has to make of the frames, relative, for their statistics to be taken."""
_Norm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Measured:
    """What was measured: how many layers, on how many frames, and how far outputs moved.

    uncertainty: mean over the layers of a channel mean's standard error between frames, in the
        channel's own standard deviations.
    kept: the network keeps the statistics of its training, which serve the frames as well.
    """

    layers: int
    frames: int
    difference: float
    uncertainty: float
    kept: bool

    @property
    def told(self) -> str:
        """What to tell of it, behind the network's name."""
        if self.kept:
            return (
                f"its statistics of training serve the {self.frames} source frames as well as "
                "their own would, and stay"
            )
        fewer = f"; {USUAL} frames would tell it better" if self.frames < USUAL // 5 else ""
        return (
            f"{self.layers} BatchNorms have the statistics of {self.frames} source frames; outputs "
            f"as before to {self.difference:.0e} (relative); a channel's mean is known to "
            f"{self.uncertainty:.2f} of its standard deviation{fewer}"
        )


def measure(
    module: nn.Module,
    images: Iterable[Tensor],
    tell: Callable[[Any], None] = lambda outputs: None,
    task: Task | None = None,
) -> Measured:
    """Set the statistics of a module's BatchNorms to those of images, in place.

    The function stays. A BatchNorm without scale and shift keeps the statistics that it has.

    Args:
        images: of the source domain, unlabelled, each (1, channels, H, W), normalised.
        tell: is given the outputs of each image.
        task: the statistics of training are kept unless those measured are better for it; None:
            there are none to keep.

    Raises:
        ModelError: too few images, no BatchNorm, values that are not finite, or a function that
            changed beyond `TOLERANCE`.
    """
    norms = {n: m for n, m in evaluating(module).named_modules() if _is_movable(m)}
    if not norms:
        raise ModelError(
            "the network has no BatchNorm layer with statistics, scale and shift; expected one "
            "that source frames can be measured for"
        )
    sample = _Sample(_SAMPLE if can_tell(task) else _COMPARED)
    moments = _moments_of(module, norms, sample.passing(images), tell)
    if sample.seen < FEWEST:
        raise too_few(sample.seen)
    before = _outputs(module, sample.images)
    trained = {name: copy.deepcopy(norm.state_dict()) for name, norm in norms.items()}
    worth_trained = worth_under_own_statistics(module, norms, sample.images, task)
    uncertainties = [_set(name, norm, moments[name]) for name, norm in norms.items()]
    worth = worth_under_own_statistics(module, norms, sample.images, task)
    kept = False
    if worth is not None and worth_trained is not None:
        kept = not worth > worth_trained * (1 + _GAIN)
    if kept:
        for name, norm in norms.items():
            norm.load_state_dict(trained[name])
    difference = _difference(before, _outputs(module, sample.images))
    if not difference <= TOLERANCE:
        raise ModelError(
            f"with statistics of the source frames the network differs by {difference:.1e} "
            f"(relative), more than {TOLERANCE:g}; expected outputs that are not this sensitive to "
            "rounding"
        )
    return Measured(len(norms), sample.seen, difference, sum(uncertainties) / len(norms), kept)


def too_few(count: int) -> ModelError:
    """Return the error of so many source frames, fewer than `FEWEST`."""
    return ModelError(
        f"{count} source frames are too few for statistics; expected {FEWEST} at least, {USUAL} if "
        "there are so many"
    )


def _is_movable(module: nn.Module) -> TypeGuard[_Norm]:
    return isinstance(module, _Norm) and module.running_mean is not None and module.affine


class _Sample:
    """Images that stay: a random choice of all that pass, in random order.

    most: how many stay at most.
    """

    def __init__(self, most: int) -> None:
        self.images: list[Tensor] = []
        self.seen = 0
        self._most = most
        self._random = random.Random(0)

    def passing(self, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield all images."""
        for image in images:
            self.seen += 1
            if len(self.images) < self._most:
                self.images.append(image)
            elif (place := self._random.randrange(self.seen)) < self._most:
                self.images[place] = image
            yield image
        # Neighbouring frames resemble each other, and a batch of them is not of all.
        self._random.shuffle(self.images)


def _moments_of(
    module: nn.Module, norms: Norms, images: Iterable[Tensor], tell: Callable[[Any], None]
) -> dict[str, _Moments]:
    """Return the moments of what BatchNorms are given, the module running as trained."""
    moments = {name: _Moments() for name in norms}
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, own=moments[name]: own.add(given[0]))
        for name, norm in norms.items()
    ]
    try:
        with torch.no_grad():
            for image in images:
                tell(module(image))
    finally:
        for hook in hooks:
            hook.remove()
    return moments


def _set(name: str, norm: _Norm, moments: _Moments) -> float:
    """Set a BatchNorm's statistics, and return how uncertain their means are."""
    if not moments.frames:
        return 0.0  # it is not called in evaluation mode
    if not (moments.mean + moments.variance).isfinite().all():
        raise ModelError(
            f"BatchNorm {name} is given values that are not finite on the source frames; check "
            "their --scale"
        )
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    deviation = (moments.variance + norm.eps).sqrt()
    with torch.no_grad():
        gain = norm.weight.double() / (variance.double() + norm.eps).sqrt()
        norm.bias.add_(gain * (moments.mean - mean.double()))
        norm.weight.copy_(gain * deviation)
        mean.copy_(moments.mean)
        variance.copy_(moments.variance)
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


def _outputs(module: nn.Module, images: Sequence[Tensor]) -> list[Any]:
    with torch.no_grad():
        return [module(image) for image in images[:_COMPARED]]


def _difference(before: Sequence[Any], after: Sequence[Any]) -> float:
    """Return the largest relative difference of outputs."""
    worst = 0.0
    for old, new in zip(nest.leaves(before), nest.leaves(after), strict=True):
        if isinstance(old, Tensor):
            scale = old.abs().max().clamp(min=1e-12)
            apart = torch.where(new == old, 0.0, (new - old).abs() / scale)
            worst = max(worst, float(apart.nan_to_num(math.inf, math.inf).max()))
    return worst
