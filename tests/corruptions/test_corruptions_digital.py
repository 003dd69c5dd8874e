"""Digital: contrast, warps, box means and JPEG against their definitions."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import cv2
import numpy as np
import pytest

from bench.corruptions import corrupt
from bench.corruptions.digital import elastic_transform
from bench.corruptions.resampling import box_means, smoothing_matrix
from bench.corruptions.tables import Elastic, TableName
from tests.corruptions.scenes import scenes

FACTOR = {"cifar": (0.75, 0.5, 0.4, 0.3, 0.15), "imagenet": (0.4, 0.3, 0.2, 0.1, 0.05)}
SCALE = {"cifar": (0.95, 0.9, 0.85, 0.75, 0.65), "imagenet": (0.6, 0.5, 0.4, 0.3, 0.25)}
QUALITY = {"cifar": (80, 65, 58, 50, 40), "imagenet": (25, 18, 15, 10, 7)}

every_cell = pytest.mark.parametrize(
    ("table", "severity"), [(table, severity) for table in FACTOR for severity in range(1, 6)]
)


@every_cell
def test_contrast_scales_the_deviation_and_keeps_the_mean(table: TableName, severity: int) -> None:
    clean = scenes(3, 64)
    flat = corrupt(clean, "contrast", severity, 0, table=table).astype(float)
    # Cut to integers: half a level darker, with the variance 1/12 of a uniform fraction on top.
    assert flat.mean(axis=(1, 2)) == pytest.approx(clean.mean(axis=(1, 2)) - 0.5, abs=0.25)
    expected = FACTOR[table][severity - 1] * clean.std(axis=(1, 2))
    assert flat.std(axis=(1, 2)) == pytest.approx(np.sqrt(expected**2 + 1 / 12), rel=0.05)


@pytest.mark.parametrize(("side", "smaller"), [(32, 30), (32, 20), (224, 134), (50, 50), (17, 4)])
def test_box_means_are_rounded_means_of_whole_pixels(side: int, smaller: int) -> None:
    values = np.random.default_rng(side).integers(0, 256, size=side).astype(np.uint8)
    means = box_means(values[None, :, None, None], smaller, axis=1)[0, :, 0, 0]
    for cell in range(smaller):
        low, high = Fraction(side * cell, smaller), Fraction(side * (cell + 1), smaller)
        inside = [int(v) for i, v in enumerate(values) if low < i + Fraction(1, 2) <= high]
        assert means[cell] == floor(Fraction(sum(inside), len(inside)) + Fraction(1, 2))


@every_cell
def test_pixelate_leaves_as_many_cells_as_the_small_picture_has(
    table: TableName, severity: int
) -> None:
    side = 32 if table == "cifar" else 224
    # Neighbours differ everywhere: a sawtooth against the period of no box.
    ramp = (np.arange(side) * 37 % 251).astype(np.uint8)
    clean = np.broadcast_to(ramp[None, :, None], (side, side, 3)).copy()
    coarse = corrupt(clean, "pixelate", severity, 0)
    edges = np.count_nonzero(np.diff(coarse[0, :, 0].astype(int)))
    cells = int(side * SCALE[table][severity - 1])
    assert cells - 1 - cells // 20 <= edges <= cells - 1
    assert np.array_equal(coarse[0], coarse[-1])


def test_pixelate_at_a_quarter_shows_blocks_of_four() -> None:
    coarse = corrupt(scenes(1, 224), "pixelate", 5, 0)[0]
    blocks = coarse.reshape(56, 4, 56, 4, 3)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0


@every_cell
def test_jpeg_has_the_published_quality(table: TableName, severity: int) -> None:
    clean = scenes(1, 64)[0]
    decoded = corrupt(clean, "jpeg_compression", severity, 0, table=table)
    quality = QUALITY[table][severity - 1]
    _, code = cv2.imencode(".jpg", clean[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    expected = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1]
    assert np.array_equal(decoded, expected)


def test_jpeg_keeps_the_order_of_channels() -> None:
    blue = np.zeros((32, 32, 3), np.uint8)
    blue[..., 2] = 255
    mean = corrupt(blue, "jpeg_compression", 1, 0).mean(axis=(0, 1))
    assert mean == pytest.approx([0, 0, 255], abs=4)


@pytest.mark.parametrize(("side", "sigma"), [(32, 0.0), (32, 0.1), (32, 1.28), (40, 30.0)])
def test_smoothing_matrix_equals_convolution_of_the_mirrored_line(side: int, sigma: float) -> None:
    line = np.random.default_rng(0).normal(size=side)
    reach = int(3 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma**2)) if reach else np.ones(1)
    mirrored = np.pad(line, reach, mode="symmetric")
    expected = np.convolve(mirrored, weights / weights.sum(), mode="valid")
    assert smoothing_matrix(side, sigma) @ line == pytest.approx(expected, abs=1e-12)


def test_elastic_without_parameters_changes_nothing() -> None:
    clean = scenes(2, 32)
    rngs = [np.random.default_rng(i) for i in range(2)]
    same = elastic_transform(clean, rngs, Elastic(0.0, 0.0, 0.0)).astype(int)
    # float32 may fall just below a whole grey level before the fraction is cut.
    assert np.abs(same - clean).max() <= 1


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_elastic_moves_pixels_by_the_smoothed_noise(sigma: float) -> None:
    # A picture that is a ramp tells where each pixel came from.
    side, amplitude = 48, 3.0
    rows, columns = np.mgrid[:side, :side]
    ramp = np.stack([5 * rows, 5 * columns, 0 * rows], axis=-1).astype(np.uint8)[None]
    moved = elastic_transform(ramp, [np.random.default_rng(7)], Elastic(amplitude, sigma, 0.0))

    rng = np.random.default_rng(7)
    rng.uniform(size=(3, 2))
    noise = rng.uniform(-1.0, 1.0, size=(2, side, side))
    smooth = smoothing_matrix(side, sigma)
    shift = amplitude * (smooth @ noise @ smooth.T)
    inner = np.s_[4:-4, 4:-4]
    assert moved[0, ..., 0][inner] == pytest.approx((5 * (rows + shift[0]))[inner], abs=1.01)
    assert moved[0, ..., 1][inner] == pytest.approx((5 * (columns + shift[1]))[inner], abs=1.01)


def test_elastic_of_severe_jitter_mirrors_what_leaves_the_picture() -> None:
    white = np.full((3, 224, 224, 3), 255, np.uint8)
    assert corrupt(white, "elastic_transform", 2, 0).min() >= 254
