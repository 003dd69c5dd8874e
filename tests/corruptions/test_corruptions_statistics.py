"""Mean, deviation and PSNR of noise, weather and light, against what the published formulas imply.

A value v that is drawn anew independently of its neighbours becomes level k with a probability
P(k | v). From this matrix and the histogram of a scene follow, without any sampling, the mean and
the standard deviation of the result and the mean squared error (MSE); and the variances of those,
from which the tolerance follows: five standard errors. PSNR = 10 log10(255^2 / MSE).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.corruptions import corrupt
from bench.corruptions.tables import TableName
from tests.corruptions.oracles import plain_plasma
from tests.corruptions.published import every_cell, published
from tests.corruptions.scenes import scenes

Reals = NDArray[np.float64]
LEVELS = np.arange(256.0)


def decibel(mse: float) -> float:
    return 10 * math.log10(255.0**2 / mse)


def mse(clean: NDArray[np.uint8], result: NDArray[np.uint8]) -> float:
    return float(((result.astype(np.float64) - clean) ** 2).mean())


@dataclass(frozen=True)
class Expected:
    """Mean, variance and MSE of a result, and the standard errors of the first and the last."""

    mean: float
    variance: float
    mse: float
    mean_error: float
    mse_error: float


def expected(chances: Reals, clean: NDArray[np.uint8]) -> Expected:
    """Of a scene whose values become levels by chances (256, 256), P(k | v), each by itself."""
    share = np.bincount(clean.ravel(), minlength=256) / clean.size
    squares = (LEVELS[None, :] - LEVELS[:, None]) ** 2
    mean_of, mse_of = chances @ LEVELS, (chances * squares).sum(axis=1)
    noise_of = chances @ LEVELS**2 - mean_of**2
    mean = float(share @ mean_of)
    return Expected(
        mean,
        float(share @ (chances @ LEVELS**2)) - mean**2,
        float(share @ mse_of),
        math.sqrt(share @ noise_of / clean.size),
        math.sqrt(share @ ((chances * squares**2).sum(axis=1) - mse_of**2) / clean.size),
    )


def assert_as_expected(
    expectation: Expected, clean: NDArray[np.uint8], result: NDArray[np.uint8]
) -> None:
    assert result.mean() == pytest.approx(expectation.mean, abs=5 * expectation.mean_error + 0.01)
    assert result.std() == pytest.approx(math.sqrt(expectation.variance), rel=0.01)
    slack = 5 * expectation.mse_error / expectation.mse
    assert slack < 0.12, "half a decibel: more would test nothing"
    bounds = decibel(expectation.mse * (1 + slack)), decibel(expectation.mse / (1 + slack))
    assert bounds[0] - 0.01 < decibel(mse(clean, result)) < bounds[1] + 0.01


@pytest.fixture(scope="module")
def scene() -> NDArray[np.uint8]:
    """Sixteen scenes with all values from 0 to 255: black, white and what is near them clip."""
    wide = 1.5 * (scenes(16, 32).astype(float) - 127.5) + 127.5
    return np.clip(wide, 0, 255).astype(np.uint8)


@every_cell
def test_gaussian_noise(table: TableName, severity: int, scene: NDArray[np.uint8]) -> None:
    # floor(v + N(0, s)) is k between the levels k and k + 1; all below falls to 0, above to 255.
    (std,) = published(table, "gaussian_noise", severity)
    below = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))
    edges = below((LEVELS[None, 1:] - LEVELS[:, None]) / (255 * std))
    chances = np.diff(edges, prepend=0.0, append=1.0, axis=1)
    result = corrupt(scene, "gaussian_noise", severity, 0, table=table)
    assert_as_expected(expected(chances, scene), scene, result)


@every_cell
def test_shot_noise(table: TableName, severity: int, scene: NDArray[np.uint8]) -> None:
    # n photons, Poisson of rate v / 255 * full, show as the level 255 n / full, at most 255.
    (full,) = published(table, "shot_noise", severity)
    rate, counts = LEVELS[:, None] / 255 * full, np.arange(2 * full + 60)
    logs = counts * np.log(np.maximum(rate, 1e-300)) - rate
    odds = np.exp(logs - np.array([math.lgamma(n + 1) for n in counts]))
    levels = np.floor(np.minimum(counts / full, 1.0) * 255).astype(int)
    chances = np.zeros((256, 256))
    np.add.at(chances.T, levels, odds.T)
    assert chances.sum(axis=1) == pytest.approx(np.ones(256), abs=1e-9)
    result = corrupt(scene, "shot_noise", severity, 0, table=table)
    assert_as_expected(expected(chances, scene), scene, result)


@every_cell
def test_impulse_noise(table: TableName, severity: int, scene: NDArray[np.uint8]) -> None:
    (share,) = published(table, "impulse_noise", severity)
    chances = (1 - share) * np.eye(256)
    chances[:, [0, 255]] += share / 2
    scene = np.tile(scene, (8, 1, 1, 1))  # impulses are rare
    result = corrupt(scene, "impulse_noise", severity, 0, table=table)
    assert_as_expected(expected(chances, scene), scene, result)


@every_cell
def test_contrast(table: TableName, severity: int) -> None:
    # c (x - m) + m differs from x by (1 - c)(x - m), of mean square (1 - c)^2 var x; cutting takes
    # a fraction u, uniform and independent: mean 1/2, mean square 1/3, variance 1/12.
    clean = scenes(4, 64)
    (factor,) = published(table, "contrast", severity)
    result = corrupt(clean, "contrast", severity, 0, table=table)
    for before, after in zip(clean, result, strict=True):
        variance = before.var(axis=(0, 1)).mean()
        assert decibel(mse(before, after)) == pytest.approx(
            decibel((1 - factor) ** 2 * variance + 1 / 3), abs=0.05
        )


@every_cell
def test_brightness(table: TableName, severity: int, scene: NDArray[np.uint8]) -> None:
    # The oracle is OpenCV's own HSV; no pixel may change by more than the gain.
    (gain,) = published(table, "brightness", severity)
    result = corrupt(scene, "brightness", severity, 0, table=table)
    wanted = np.empty(scene.shape)
    for picture, target in zip(scene, wanted, strict=True):
        hsv = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
        hsv[..., 2] = np.minimum(hsv[..., 2] + gain, 1.0)
        target[...] = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    wanted = np.floor(wanted + 1e-3)
    assert result.mean() == pytest.approx(wanted.mean(), abs=0.1)
    assert result.std() == pytest.approx(wanted.std(), rel=0.002)
    exact = float(((wanted - scene) ** 2).mean())
    assert decibel(mse(scene, result)) == pytest.approx(decibel(exact), abs=0.03)
    assert decibel(mse(scene, result)) >= -20 * math.log10(gain)


@every_cell
def test_fog(table: TableName, severity: int) -> None:
    """Fog is x + d p, times M / (M + d): p the plasma, M the brightest value, d the density.

    Its difference to x is D (p - x / M) with D = M d / (M + d). If all its noise changes sign,
    plasma p becomes 1 - p: its mean is 1/2 over any region, and with its variance s^2 (here from
    a plain diamond-square) MSE = D^2 (s^2 + mean (1/2 - x / M)^2); the mean rises by
    D (1/2 - mean x / M); the variance of all values is that of M / (M + d) (x + d p).
    """
    n = 192
    clean = scenes(n, 32)
    density, decay = published(table, "fog", severity)
    result = corrupt(clean, "fog", severity, 0, table=table).astype(float)
    plasmas = np.stack([plain_plasma(32, decay, np.random.default_rng(i)) for i in range(24)])
    spread = ((plasmas - 0.5) ** 2).mean(axis=(1, 2))

    unit = clean / 255.0
    top = unit.max(axis=(1, 2, 3))
    reach = 255 * top * density / (top + density)
    off_middle = (0.5 - unit / top[:, None, None, None]).reshape(n, -1)
    rise = (result - clean).mean(axis=(1, 2, 3)) + 0.5
    error = 5 * rise.std() / math.sqrt(n)
    assert rise.mean() == pytest.approx((reach * off_middle.mean(axis=1)).mean(), abs=error)

    scale = reach**2
    wanted = (scale * ((off_middle**2).mean(axis=1) + spread.mean())).mean()
    squares = ((result + 0.5 - clean) ** 2).mean(axis=(1, 2, 3))
    error = 5 * math.hypot(
        squares.std() / math.sqrt(n), scale.mean() * spread.std() / math.sqrt(len(spread))
    )
    assert error < 0.35 * wanted
    assert squares.mean() == pytest.approx(wanted, abs=error)


FROSTED = (
    ((78.0, 148.0, 164.0), 18.0),
    ((198.0, 202.0, 211.0), 21.0),
    ((198.0, 202.0, 211.0), 21.0),
    ((144.0, 159.0, 172.0), 27.0),
    ((100.0, 112.0, 124.0), 37.0),
)
"""Mean RGB and deviation of the five photographs that the published scripts crop (measured)."""


@every_cell
def test_drawn_frost_is_as_strong_as_the_published_photographs(
    table: TableName, severity: int
) -> None:
    # min(a x + b t, 255) with t normal about a photograph's mean, each photograph as often.
    n = 600
    clean = scenes(n, 32)
    a, b = published(table, "frost", severity)
    result = corrupt(clean, "frost", severity, 0, table=table).astype(float)
    z = np.linspace(-3, 3, 61)
    weight = np.exp(-0.5 * z**2)
    weight /= weight.sum()
    mean, square = 0.0, 0.0
    for tint, std in FROSTED:
        for channel in range(3):
            share = np.bincount(clean[..., channel].ravel(), minlength=256) / clean[..., 0].size
            frosted = np.minimum(a * LEVELS[:, None] + b * (tint[channel] + std * z), 255)
            mean += share @ frosted @ weight / 15
            square += share @ (frosted - LEVELS[:, None]) ** 2 @ weight / 15
    # Each picture gets one photograph, so pictures, not values, are the sample. The drawn panes
    # may differ in tint by 4 levels on average.
    means, squares = result.mean(axis=(1, 2, 3)), ((result - clean) ** 2).mean(axis=(1, 2, 3))
    assert means.mean() == pytest.approx(mean - 0.5, abs=5 * means.std() / math.sqrt(n) + 4 * b)
    assert decibel(squares.mean()) == pytest.approx(decibel(square), abs=0.8)


@every_cell
def test_snow_on_black(table: TableName, severity: int) -> None:
    """On black, snow is w + L + L', w = (1 - keep) / 2, L the blurred flakes, L' turned by 180.

    A flake f is a normal value z where z >= threshold, else 0, at most 1. Magnified by linear
    interpolation, z is a mean of four draws and its deviation smaller; averaged over the places
    between the draws this gives E f and E f^2. Blurring keeps the mean and takes variance, never
    below sum k_i^2 of the kernel's weights k_i, since magnified flakes resemble their neighbours:
    mean = w + 2 E f;  2 sum k_i^2 var f <= var <= 4 var f;  and MSE = mean^2 + var.
    """
    side, n = 64, 24
    mean, std, zoom, threshold, radius, sigma, keep = published(table, "snow", severity)
    result = corrupt(np.zeros((n, side, side, 3), np.uint8), "snow", severity, 0, table=table)

    kept = math.ceil(side / zoom)
    places = np.arange(side) * (kept - 1) / max(round(kept * zoom) - 1, 1) % 1 if zoom > 1 else [0]
    shrink = np.sqrt((1 - np.asarray(places)) ** 2 + np.asarray(places) ** 2)
    z = np.linspace(-6, 6, 4001)
    weight = np.exp(-0.5 * z**2)
    weight /= weight.sum()
    first, second = 0.0, 0.0
    for s in np.unique(np.outer(shrink, shrink).round(3), return_counts=False):
        chance = (np.outer(shrink, shrink).round(3) == s).mean()
        draws = mean + std * s * z
        flakes = np.where(draws >= threshold, np.minimum(draws, 1.0), 0.0)
        first, second = (
            first + chance * (weight @ flakes),
            second + chance * (weight @ flakes**2),
        )
    variance = second - first**2

    taps = np.exp(-0.5 * (np.arange(2 * int(radius) + 1) / sigma) ** 2)
    left = ((taps / taps.sum()) ** 2).sum()
    values = result[..., 0] / 255.0
    means = values.mean(axis=(1, 2))
    white = (1 - keep) / 2
    # Three conversions to integers cut up to a level each.
    error = 5 * means.std() / math.sqrt(n) + 3 / 255
    assert means.mean() == pytest.approx(white + 2 * first, abs=error)
    cut = (2 / 255) ** 2
    assert 2 * left * variance * 0.5 - cut < values.var() < 4 * variance + cut
    low = decibel(255**2 * ((white + 2 * first + error) ** 2 + 4 * variance + cut))
    high = decibel(255**2 * max((white + 2 * first - error) ** 2, 1e-9))
    assert low < decibel(mse(np.zeros_like(result), result)) < high
