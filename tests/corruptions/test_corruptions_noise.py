"""Noise: moments of the published distributions, after clipping and cutting to integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.corruptions import corrupt
from bench.corruptions.tables import TableName

SEVERITIES = range(1, 6)
STD = {"cifar": (0.04, 0.06, 0.08, 0.09, 0.10), "imagenet": (0.08, 0.12, 0.18, 0.26, 0.38)}
PHOTONS = {"cifar": (500, 250, 100, 75, 50), "imagenet": (60, 25, 12, 5, 3)}
SHARE = {"cifar": (0.01, 0.02, 0.03, 0.05, 0.07), "imagenet": (0.03, 0.06, 0.09, 0.17, 0.27)}

every_cell = pytest.mark.parametrize(
    ("table", "severity"), [(table, severity) for table in STD for severity in SEVERITIES]
)


def flat(value: int) -> NDArray[np.uint8]:
    """122,880 equal values: a standard error of 0.3 % of the standard deviation."""
    return np.full((40, 32, 32, 3), value, np.uint8)


def clipped_normal(mean: float, std: float) -> tuple[float, float]:
    """Mean and standard deviation of min(max(N(mean, std), 0), 255), by quadrature."""
    points = mean + std * np.linspace(-6.0, 6.0, 20001)
    weights = np.exp(-0.5 * ((points - mean) / std) ** 2)
    weights /= weights.sum()
    values = np.clip(points, 0.0, 255.0)
    centre = float((weights * values).sum())
    return centre, math.sqrt(float((weights * (values - centre) ** 2).sum()))


@every_cell
@pytest.mark.parametrize("value", [20, 128])
def test_gaussian_noise_has_the_published_deviation(
    table: TableName, severity: int, value: int
) -> None:
    noisy = corrupt(flat(value), "gaussian_noise", severity, 0, table=table).astype(float)
    mean, std = clipped_normal(value, 255 * STD[table][severity - 1])
    # Cutting the fraction takes half a grey level, except where values were clipped.
    assert noisy.mean() == pytest.approx(mean - 0.25, abs=0.25 + 5 * std / math.sqrt(noisy.size))
    assert noisy.std() == pytest.approx(std, rel=0.02)


@every_cell
def test_shot_noise_has_the_variance_of_its_photons(table: TableName, severity: int) -> None:
    value, photons = 51, PHOTONS[table][severity - 1]
    noisy = corrupt(flat(value), "shot_noise", severity, 0, table=table).astype(float)
    rate = value / 255 * photons
    counts = np.arange(200)
    log_odds = counts * math.log(rate) - rate - np.array([math.lgamma(k + 1) for k in counts])
    levels = np.floor(np.minimum(counts / photons, 1.0) * 255 + 1e-9)
    mean = (np.exp(log_odds) * levels).sum()
    std = math.sqrt((np.exp(log_odds) * (levels - mean) ** 2).sum())
    assert noisy.mean() == pytest.approx(mean, abs=5 * std / math.sqrt(noisy.size) + 0.01)
    assert noisy.std() == pytest.approx(std, rel=0.02)


def test_shot_noise_leaves_black_black() -> None:
    assert corrupt(flat(0), "shot_noise", 5, 0).max() == 0


@every_cell
def test_impulse_noise_replaces_the_published_share(table: TableName, severity: int) -> None:
    share = SHARE[table][severity - 1]
    noisy = corrupt(flat(128), "impulse_noise", severity, 0, table=table)
    assert set(np.unique(noisy)) == {0, 128, 255}
    bound = 5 * math.sqrt(share / 2 * (1 - share / 2) / noisy.size)
    assert (noisy == 0).mean() == pytest.approx(share / 2, abs=bound)
    assert (noisy == 255).mean() == pytest.approx(share / 2, abs=bound)


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise"])
def test_noise_of_channels_and_images_is_independent(name: str) -> None:
    noisy = corrupt(flat(128), name, 5, 0).astype(float)
    channels = np.corrcoef(noisy.reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 0.025
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.1
