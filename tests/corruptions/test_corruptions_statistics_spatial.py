"""Mean, deviation and PSNR of blur, warps, coarse pixels and JPEG, against their definitions.

Each has pictures on which its effect has a closed form, or is an integral over what is drawn:
cosines for kernels, sums of profiles for zoom, ramps for warps, grey for JPEG. Cutting fractions
takes u, uniform in [0, 1): half a level of the mean, 1/3 of the mean squared error (MSE).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.corruptions import corrupt
from bench.corruptions.tables import TableName
from tests.corruptions.oracles import published_shuffle
from tests.corruptions.published import every_cell, published
from tests.corruptions.scenes import scenes

Reals = NDArray[np.float64]
Pixels = NDArray[np.uint8]

# Libjpeg's table for luminance (ITU-T T.81, Annex K.1).
QUANTA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def decibel(mse: float) -> float:
    return 10 * math.log10(255.0**2 / mse)


def mse(clean: NDArray[np.generic], result: NDArray[np.generic]) -> float:
    difference = np.asarray(result, np.float64) - np.asarray(clean, np.float64)
    return float((difference**2).mean())


def as_picture(values: Reals) -> Pixels:
    """Grey values (H, W) as a picture (H, W, 3), rounded."""
    return np.repeat(values.round()[..., None], 3, axis=-1).astype(np.uint8)


def assert_close(exact: Reals, clean: Pixels, result: Pixels, psnr: float = 0.05) -> None:
    """The result has the mean, deviation and PSNR of `exact`, the values before cutting."""
    wanted = np.repeat(exact[..., None], 3, axis=-1) - 0.5
    assert result.mean() == pytest.approx(wanted.mean(), abs=0.15)
    assert result.std() == pytest.approx(math.sqrt(wanted.var() + 1 / 12), rel=0.005, abs=0.02)
    expected = mse(clean, wanted) + 1 / 12
    assert decibel(mse(clean, result)) == pytest.approx(decibel(expected), abs=psnr)


@every_cell
def test_defocus_scales_each_cosine_by_the_spectrum_of_its_kernel(
    table: TableName, severity: int
) -> None:
    """cos(i a) cos(j b), a and b multiples of pi / (side - 1), is mirrored into itself at the edges
    (... c b a b c ...), so a symmetric kernel K multiplies it by sum K_ij cos(i a) cos(j b).
    """
    side = 64
    radius, rim = published(table, "defocus_blur", severity)
    grid = max(8, int(radius))
    line = np.arange(-grid, grid + 1)
    disk = (line[:, None] ** 2 + line[None, :] ** 2 <= radius**2).astype(np.float32)
    size = (3, 3) if radius <= 8 else (5, 5)
    kernel = cv2.GaussianBlur(disk / disk.sum(), size, rim).astype(np.float64)

    rng = np.random.default_rng(severity)
    place = np.arange(side) * math.pi / (side - 1)
    clean, exact = np.full((side, side), 128.0), np.full((side, side), 128.0 * kernel.sum())
    for _ in range(16):
        u, v = rng.integers(0, 24, size=2)
        wave = rng.uniform(-12, 12) * np.cos(u * place)[:, None] * np.cos(v * place)[None, :]
        a, b = u * math.pi / (side - 1), v * math.pi / (side - 1)
        clean += wave
        exact += wave * (np.cos(line * a) @ kernel @ np.cos(line * b))
    picture = as_picture(clean)
    assert clean.min() > 1
    assert clean.max() < 250
    result = corrupt(picture, "defocus_blur", severity, 0, table=table)
    assert result.mean() == pytest.approx(exact.mean() - 0.5, abs=0.1)
    # Rounding the picture adds noise of variance 1/12, which the kernel dampens by its norm.
    assert result.var() == pytest.approx(exact.var() + ((kernel**2).sum() + 1) / 12, rel=0.02)
    identity = np.pad([[1.0]], grid)
    lost = mse(clean, exact - 0.5) + (((kernel - identity) ** 2).sum() + 1) / 12
    assert decibel(mse(picture, result)) == pytest.approx(decibel(lost), abs=0.2)


@every_cell
def test_motion_blur_acts_on_gratings_as_its_spectrum_says(table: TableName, severity: int) -> None:
    """A grating of frequency f is multiplied by H = sum k_i exp(2 pi I f . o_i): o_i is i steps at
    an angle, rounded, and k_i half a Gaussian. Its MSE is A^2 / 2 |1 - H|^2, its variance
    A^2 / 2 |H|^2; both are averaged over the angles -45 to 45 degrees.
    """
    n, margin, inner, amplitude = 100, 42, 32, 60.0
    radius, sigma = published(table, "motion_blur", severity)
    assert margin > 2 * radius
    steps = np.arange(2 * int(radius) + 1)
    taps = np.exp(-0.5 * (steps / sigma) ** 2)
    taps /= taps.sum()
    angles = np.radians(np.linspace(-45, 45, 1801))[:, None]
    across = np.ceil(steps * np.cos(angles) - 0.5)
    down = np.ceil(steps * np.sin(angles) - 0.5)
    side = inner + 2 * margin
    for f_down, f_across in ((0, 1 / 32), (1 / 16, 0), (1 / 16, 1 / 32)):
        y, x = np.mgrid[:side, :side]
        grating = 128 + amplitude * np.cos(2 * math.pi * (f_down * y + f_across * x))
        clean = np.broadcast_to(as_picture(grating), (n, side, side, 3))
        result = corrupt(clean.copy(), "motion_blur", severity, 0, table=table)
        # Away from the border, whole periods.
        cut = np.s_[:, margin:-margin, margin:-margin]
        change = ((result[cut] - clean[cut].astype(float)) ** 2).mean(axis=(1, 2, 3))
        spectrum = np.exp(2j * math.pi * (f_down * down + f_across * across)) @ taps
        power = clean[cut].var()  # A^2 / 2, but for rounding
        wanted = power * (np.abs(1 - spectrum) ** 2).mean() + 1 / 3
        error = 5 * change.std() / math.sqrt(n) + 0.3
        assert change.mean() == pytest.approx(wanted, abs=error)
        assert error < 0.75 * wanted
        variance = result[cut].var(axis=(1, 2, 3))
        error = 5 * variance.std() / math.sqrt(n) + 0.3
        assert variance.mean() == pytest.approx(
            power * (np.abs(spectrum) ** 2).mean() + 1 / 12, abs=error
        )
        assert result[cut].mean() == pytest.approx(127.5, abs=0.3)


@every_cell
def test_zoom_blur_is_the_mean_of_stretched_profiles(table: TableName, severity: int) -> None:
    """A picture g(y) + h(x) stays one under linear interpolation: each profile is stretched.

    The middle ceil(side / f) pixels become round(f times as many), first and last kept, of which
    the middle is shown; the picture itself counts once more than its zoomed selves.
    """
    side = 32 if table == "cifar" else 224
    stop, step = published(table, "zoom_blur", severity)
    factors = np.arange(1, stop, step)
    rng = np.random.default_rng(severity)
    # Rounded already, so that the picture is exactly the sum.
    profiles = [np.cumsum(rng.integers(-9, 10, size=side)).astype(float) for _ in range(2)]
    profiles = [(70 * (p - p.min()) / np.ptp(p)).round() + 20 for p in profiles]
    blurred = []
    for profile in profiles:
        total = profile.copy()
        for factor in factors:
            kept = math.ceil(side / factor)
            long = round(kept * factor)
            top = (side - kept) // 2
            stretched = np.interp(
                np.linspace(0, kept - 1, long), np.arange(kept), profile[top : top + kept]
            )
            total += stretched[(long - side) // 2 :][:side]
        blurred.append(total / (len(factors) + 1))
    clean = as_picture(profiles[0][:, None] + profiles[1][None, :])
    result = corrupt(clean, "zoom_blur", severity, 0, table=table)
    assert_close(blurred[0][:, None] + blurred[1][None, :], clean, result)


@every_cell
def test_glass_blur_is_as_strong_as_the_published_loop(table: TableName, severity: int) -> None:
    """Blur, the published loop, blur, with draws of its own: the integral over what is drawn."""
    side = 32
    sigma, reach, passes = published(table, "glass_blur", severity)
    reach = int(reach)
    taps = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * (taps / sigma) ** 2)
    weights /= weights.sum()

    def blurred(picture: Reals) -> Reals:
        for axis in (0, 1):
            width = [(len(taps) // 2,) * 2 if a == axis else (0, 0) for a in range(3)]
            padded = np.pad(picture, width, mode="edge")
            picture = sum(
                w * np.take(padded, range(i, i + side), axis) for i, w in enumerate(weights)
            )
        return picture

    clean = scenes(8, side)
    rng = np.random.default_rng(severity)
    images = []
    for picture in clean:
        values = np.floor(blurred(picture.astype(float)) + 1e-9)
        for _ in range(int(passes)):
            inner = side - 2 * reach
            offset = rng.integers(-reach, reach, size=(2, inner, inner))
            origin = published_shuffle(side, side, reach, offset)
            values = values.reshape(-1, 3)[origin].reshape(side, side, 3)
        images.append(np.floor(blurred(values) + 1e-9))
    wanted = np.array(images)
    many = 6
    results = [corrupt(clean, "glass_blur", severity, seed, table=table) for seed in range(many)]
    assert np.mean(results) == pytest.approx(wanted.mean(), abs=0.4)
    assert np.std(results) == pytest.approx(wanted.std(), rel=0.01)
    psnr = decibel(float(np.mean([mse(clean, result) for result in results])))
    assert psnr == pytest.approx(decibel(mse(clean, wanted)), abs=0.3)


@every_cell
def test_elastic_moves_a_ramp_by_its_affine_map_and_its_noise(
    table: TableName, severity: int
) -> None:
    """A ramp s x, mirrored at its edges, shows where each pixel came from.

    The source of pixel p is the inverse of the affine map, which takes three corners to places
    uniformly up to `jitter` off, at p plus the smoothed noise: amplitude times a uniform value of
    variance 1/3, times for each axis the norm of the smoothing at p (normal, being a sum). MSE is
    s^2 times the mean square of the move.
    """
    side, n, draws = (
        (32, 160, 2000) if table == "cifar" else (224, 48 if severity < 3 else 16, 2000)
    )
    amplitude, sigma, jitter = published(table, "elastic_transform", severity)
    slope = 1.0 if table == "imagenet" else 7.0
    ramp = slope * np.arange(side)
    clean = np.broadcast_to(as_picture(np.tile(ramp, (side, 1))), (n, side, side, 3))
    result = corrupt(clean.copy(), "elastic_transform", severity, 0, table=table).astype(float)
    change = ((result + 0.5 - clean) ** 2).mean(axis=(1, 2, 3)) - 1 / 12

    rng = np.random.default_rng(severity)
    middle, arm = side // 2, side // 3
    corners = np.array(
        [[middle + arm, middle + arm], [middle + arm, middle - arm], [middle - arm, middle - arm]]
    )
    homogeneous = np.c_[corners, np.ones(3)]
    norm = _norm_of_smoothing(side, sigma)
    place = rng.integers(0, side, size=(draws, 60, 2))  # (x, y)
    noise = rng.normal(size=place.shape) / math.sqrt(3)
    noise *= amplitude * norm[place[..., :1]] * norm[place[..., 1:]]
    # 2 x 2 and shift of each map, from corners to moved corners.
    moved = corners + rng.uniform(-jitter, jitter, size=(draws, 3, 2))
    maps = np.linalg.solve(np.broadcast_to(homogeneous, (draws, 3, 3)), moved)
    seen = np.clip(place + noise, 0, side - 1)
    source = np.linalg.solve(
        maps[:, None, :2].swapaxes(-1, -2), (seen - maps[:, None, 2])[..., None]
    )[..., 0]
    period = 2 * (side - 1)
    folded = np.abs((source[..., 0] + side - 1) % period - (side - 1))
    moves = slope**2 * ((folded - place[..., 0]) ** 2).mean(axis=1)

    error = 5 * math.hypot(change.std() / math.sqrt(n), moves.std() / math.sqrt(draws))
    assert change.mean() == pytest.approx(moves.mean(), abs=error + 0.05 * moves.mean())
    assert error < moves.mean()
    ramps = slope * folded
    assert result.mean() == pytest.approx(
        ramps.mean() - 0.5, abs=5 * result.mean(axis=(1, 2, 3)).std() / math.sqrt(n) + 0.3
    )
    assert result.std() == pytest.approx(ramps.std(), rel=0.08)


def _norm_of_smoothing(side: int, sigma: float) -> Reals:
    """Root of the sum of squared weights at each place, for a Gaussian cut at 3 sigma, mirrored."""
    reach = int(3 * sigma + 0.5)
    if not reach:
        return np.ones(side)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    sources = np.pad(np.arange(side), reach, mode="symmetric")
    rows = [
        np.bincount(sources[i : i + 2 * reach + 1], weights, minlength=side) for i in range(side)
    ]
    return np.sqrt(((np.array(rows) / weights.sum()) ** 2).sum(axis=1))


@every_cell
def test_pixelate_takes_what_differs_within_a_cell(table: TableName, severity: int) -> None:
    """Each cell becomes its mean: the variance within cells is lost, and is the MSE. Rounding to
    integers, along each axis, with halves up, adds most to cells of two by two: 0 or 1/2 as often,
    which is a mean of 1/4 each time and variances of 1/32 and 1/16, together 0.34.
    """
    side = 32 if table == "cifar" else 224
    clean = scenes(3, side)
    (scale,) = published(table, "pixelate", severity)
    small = int(side * scale)
    cell = ((np.arange(side) + 0.5) * small / side).astype(int)
    index = (cell[:, None] * small + cell[None, :]).ravel()
    count = np.bincount(index)
    result = corrupt(clean, "pixelate", severity, 0, table=table)
    for before, after in zip(clean, result, strict=True):
        lost = 0.0
        for channel in range(3):
            values = before[..., channel].ravel().astype(float)
            means = np.bincount(index, values) / count
            lost += ((values - means[index]) ** 2).mean() / 3
        # Halves are rounded up: a quarter of a level for cells two wide, or high; less for others.
        assert -0.05 < after.mean() - before.mean() < 0.55
        assert after.var() == pytest.approx(before.var() - lost, rel=0.02)
        error = mse(before, after)
        assert lost - 1e-9 <= error < lost + 0.35
    assert result.shape == clean.shape


@every_cell
def test_jpeg_rounds_the_cosine_transform_to_its_quanta(table: TableName, severity: int) -> None:
    """Grey has no colour to lose: what is left is the transform of 8 x 8 blocks, rounded to
    multiples of the standard's table times 50 / quality, or times 2 - quality / 50 from 50.
    """
    clean = scenes(2, 64)[..., 1]
    (quality,) = published(table, "jpeg_compression", severity)
    scale = 5000 // int(quality) if quality < 50 else 200 - 2 * int(quality)
    quanta = np.clip((QUANTA * scale + 50) // 100, 1, 255)
    for picture in clean:
        exact = np.empty((64, 64))
        for row in range(0, 64, 8):
            for column in range(0, 64, 8):
                block = np.s_[row : row + 8, column : column + 8]
                spectrum = cv2.dct(picture[block].astype(np.float64) - 128)
                exact[block] = cv2.idct((spectrum / quanta).round() * quanta) + 128
        grey = np.repeat(picture[..., None], 3, axis=-1)
        result = corrupt(grey, "jpeg_compression", severity, 0, table=table)[..., 1]
        exact = np.clip(exact.round(), 0, 255)
        assert result.mean() == pytest.approx(exact.mean(), abs=0.3)
        assert result.std() == pytest.approx(exact.std(), rel=0.005)
        assert decibel(mse(picture, result)) == pytest.approx(
            decibel(mse(picture, exact)), abs=0.05
        )
