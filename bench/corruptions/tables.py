"""The published parameters of the 15 corruptions, severities 1..5.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", 2019. There are two tables: ImageNet-C (images of 224 x 224) and CIFAR-10-C
(32 x 32). Lengths are in pixels of those images, intensities in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

TableName = Literal["cifar", "imagenet"]


class Disk(NamedTuple):
    """Lens out of focus: radius of the disk; sigma of the 3 x 3 or 5 x 5 Gaussian on its rim."""

    radius: float
    rim_sigma: float


class Glass(NamedTuple):
    """Frosted glass: sigma of the blur before and after; reach of the shuffle; number of passes."""

    sigma: float
    reach: int
    passes: int


class Motion(NamedTuple):
    """Linear motion: the line holds 2 * radius + 1 taps, weighted by half a Gaussian of sigma."""

    radius: int
    sigma: float


class Zoom(NamedTuple):
    """Motion towards the scene: zoom factors 1, 1 + step, ... below stop."""

    stop: float
    step: float


class Snow(NamedTuple):
    """Flakes: normal noise (mean, std), magnified, cut below threshold, blurred along the fall.

    ``keep`` is the weight of the picture against its whitened self.
    """

    mean: float
    std: float
    magnification: float
    threshold: float
    fall: Motion
    keep: float


class Frost(NamedTuple):
    """Weights of the picture and of the frost texture; they need not add to one."""

    picture: float
    texture: float


class Fog(NamedTuple):
    """Density: weight of the plasma. Decay: divisor of its noise per octave (small is rough)."""

    density: float
    decay: float


class Elastic(NamedTuple):
    """Stretch: amplitude and smoothing sigma of the displacement; jitter of the affine corners."""

    amplitude: float
    sigma: float
    jitter: float


Row = tuple[object, ...]
"""A parameter for each severity."""


def _each(kind: Callable[..., object], *rows: Sequence[float]) -> Row:
    return tuple(kind(*row) for row in rows)


def _elastic(side: float, *rows: Sequence[float]) -> Row:
    """Amplitude, sigma and jitter are told as shares of the side."""
    return tuple(Elastic(*(side * share for share in row)) for row in rows)


IMAGENET: dict[str, Row] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation
    "shot_noise": (60.0, 25.0, 12.0, 5.0, 3.0),  # photons at full intensity
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),  # share of values replaced
    "defocus_blur": _each(Disk, (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": _each(Glass, (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": _each(Motion, (10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": _each(Zoom, (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        Snow(0.10, 0.3, 3.0, 0.50, Motion(10, 4), 0.80),
        Snow(0.20, 0.3, 2.0, 0.50, Motion(12, 4), 0.70),
        Snow(0.55, 0.3, 4.0, 0.90, Motion(12, 8), 0.70),
        Snow(0.55, 0.3, 4.5, 0.85, Motion(12, 8), 0.65),
        Snow(0.55, 0.3, 2.5, 0.85, Motion(12, 12), 0.55),
    ),
    "frost": _each(Frost, (1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": _each(Fog, (1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added to the value of HSV
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # factor on the distance from the mean
    # The ImageNet script writes 244 where 224 was meant; the published data were made with 244.
    "elastic_transform": _elastic(
        244.0,
        *((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02)),
        (0.12, 0.01, 0.02),
    ),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),  # side of the small picture over the side of the large
    "jpeg_compression": (25, 18, 15, 10, 7),  # libjpeg quality
}

CIFAR: dict[str, Row] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": (500.0, 250.0, 100.0, 75.0, 50.0),
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus_blur": _each(Disk, (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
    "glass_blur": _each(Glass, (0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": _each(Motion, (6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": _each(Zoom, (1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        Snow(0.10, 0.2, 1.0, 0.60, Motion(8, 3), 0.95),
        Snow(0.10, 0.2, 1.0, 0.50, Motion(10, 4), 0.90),
        Snow(0.15, 0.3, 1.75, 0.55, Motion(10, 4), 0.90),
        Snow(0.25, 0.3, 2.25, 0.60, Motion(12, 6), 0.85),
        Snow(0.30, 0.3, 1.25, 0.65, Motion(14, 12), 0.80),
    ),
    "frost": _each(Frost, (1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "fog": _each(Fog, (0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
    "brightness": (0.05, 0.10, 0.15, 0.20, 0.30),
    "contrast": (0.75, 0.50, 0.40, 0.30, 0.15),
    "elastic_transform": _elastic(
        32,
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
    "pixelate": (0.95, 0.90, 0.85, 0.75, 0.65),
    "jpeg_compression": (80, 65, 58, 50, 40),
}

SIDES: dict[TableName, int] = {"cifar": 32, "imagenet": 224}
"""Sides of the pictures that the tables are for."""


def scaled(parameter: object, factor: float) -> object:
    """Return a parameter with its lengths in pixels times a factor; others stay."""
    if isinstance(parameter, Disk | Elastic):
        return type(parameter)(*(length * factor for length in parameter))
    if isinstance(parameter, Motion):
        return _longer(parameter, factor)
    if isinstance(parameter, Glass):
        reach = max(1, round(parameter.reach * factor))
        return parameter._replace(sigma=parameter.sigma * factor, reach=reach)
    if isinstance(parameter, Snow):
        fall = _longer(parameter.fall, factor)
        return parameter._replace(magnification=parameter.magnification * factor, fall=fall)
    return parameter


def _longer(motion: Motion, factor: float) -> Motion:
    return Motion(max(1, round(motion.radius * factor)), motion.sigma * factor)


TABLES: dict[TableName, dict[str, Row]] = {"cifar": CIFAR, "imagenet": IMAGENET}
