"""Blur: kernels against their definitions, the vectorised shuffle against the published loop."""

from __future__ import annotations

import numpy as np
import pytest

from bench.corruptions import TABLES, corrupt
from bench.corruptions.blur import disk_kernel, glass_origins
from bench.corruptions.motion import motion_blurred, motion_kernel
from bench.corruptions.resampling import zoomed
from bench.corruptions.tables import Disk, Motion
from tests.corruptions.oracles import published_shuffle
from tests.corruptions.scenes import scenes

DISKS = [row for table in TABLES.values() for row in table["defocus_blur"]]
MOTIONS = [row for table in TABLES.values() for row in table["motion_blur"]]


@pytest.mark.parametrize("disk", DISKS)
def test_defocus_kernel_sums_to_one_and_is_symmetric(disk: Disk) -> None:
    kernel = disk_kernel(disk)
    # At radii 8 and 10 the published grid cuts the softened rim and mirrors it back in.
    surplus = {8.0: 0.01298, 10.0: 0.01079}.get(disk.radius, 0.0)
    assert kernel.sum() == pytest.approx(1.0 + surplus, abs=1e-4)
    assert np.allclose(kernel, kernel[::-1])
    assert np.allclose(kernel, kernel.T)


def test_defocus_kernel_is_flat_inside_and_zero_outside() -> None:
    kernel = disk_kernel(Disk(6, 0.5))
    line = np.arange(-7, 8)
    distance = np.hypot(line[:, None], line[None, :])
    assert np.ptp(kernel[distance <= 4.5]) < 1e-7
    assert kernel[distance > 7.5].max() == 0.0


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("angle", [-135.0, -90.0, -45.0, -10.0, 0.0, 33.0, 45.0])
def test_motion_kernel_is_half_a_gaussian_along_a_line(motion: Motion, angle: float) -> None:
    kernel, (column, row) = motion_kernel(motion, angle)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    y, x = np.indices(kernel.shape)
    y, x = y - row, x - column
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = x * cosine + y * sine, y * cosine - x * sine
    used = kernel > 0
    assert along[used].min() > -0.75
    assert np.abs(across[used]).max() <= np.sqrt(0.5) + 1e-9

    taps = np.arange(2 * motion.radius + 1)
    weights = np.exp(-(taps**2) / (2.0 * motion.sigma**2))
    weights /= weights.sum()
    # Rounding to whole pixels moves no tap by more than half a diagonal.
    assert (kernel * along).sum() == pytest.approx((weights * taps).sum(), abs=0.5)
    if angle in (-90.0, 0.0):
        assert np.sort(kernel.ravel())[::-1] == pytest.approx(weights, abs=1e-6)


def test_motion_blur_of_a_dot_is_its_kernel_turned_round() -> None:
    dot = np.zeros((41, 41), np.uint8)
    dot[20, 20] = 255
    blurred = motion_blurred(dot, Motion(6, 2.0), 0.0)
    weights = np.exp(-(np.arange(13) ** 2) / 8.0)
    expected = np.floor(255 * weights / weights.sum()).astype(int)
    assert blurred[20, 8:21].tolist() == expected[::-1].tolist()
    assert np.delete(blurred, 20, axis=0).max() == 0


def test_motion_blur_repeats_the_border() -> None:
    flat = np.full((32, 32, 3), 200, np.uint8)
    assert np.unique(motion_blurred(flat, Motion(20, 15.0), 30.0)).tolist() == [200]


@pytest.mark.parametrize("reach", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(16, 16), (24, 31)])
def test_vectorised_shuffle_equals_the_published_loop(reach: int, shape: tuple[int, int]) -> None:
    height, width = shape
    for seed in range(5):
        origins = glass_origins(height, width, reach, np.random.default_rng(seed))
        visited = (2, height - 2 * reach, width - 2 * reach)
        offset = np.random.default_rng(seed).integers(-reach, reach, size=visited)
        assert np.array_equal(origins, published_shuffle(height, width, reach, offset))


def test_glass_blur_keeps_margin_and_values_where_it_does_not_blur() -> None:
    # Severity 1 of the CIFAR table has a sigma too small to blur: a pure shuffle is left.
    clean = scenes(1, 32)
    shuffled = corrupt(clean, "glass_blur", 1, 0).astype(int)
    # Two conversions to integers may each cut one grey level.
    assert np.abs(shuffled[0, :2] - clean[0, :2]).max() <= 2
    assert 0.1 < (np.abs(shuffled - clean).max(axis=-1) > 2).mean() < 0.9
    for row, column in np.ndindex(28, 28):
        near = clean[0, row + 1 : row + 3, column + 1 : column + 3].reshape(-1, 3).astype(int)
        distance = np.abs(near - shuffled[0, row + 2, column + 2]).max(axis=1)
        assert distance.min() <= 2


@pytest.mark.parametrize("side", [17, 32, 224])
@pytest.mark.parametrize("factor", [1.0, 1.01, 1.13, 1.25, 2.5, 4.5])
def test_zoom_interpolates_the_stretched_middle(side: int, factor: float) -> None:
    values = np.random.default_rng(0).random((1, side, 1, 1))
    kept = int(np.ceil(side / factor))
    top = (side - kept) // 2
    middle = values[0, top : top + kept, 0, 0]
    stretched = round(kept * factor)
    fine = np.interp(np.linspace(0, kept - 1, stretched), np.arange(kept), middle)
    trim = (stretched - side) // 2
    # One column cannot be zoomed, so the line is shown in every column.
    picture = np.repeat(values, side, axis=2)
    column = zoomed(picture, factor)[0, :, side // 2, 0]
    assert column == pytest.approx(fine[trim : trim + side], abs=1e-12)


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_blur", "glass_blur"])
@pytest.mark.parametrize("side", [32, 224])
def test_blur_keeps_brightness_and_takes_detail(name: str, side: int) -> None:
    clean = scenes(2, side)
    blurred = corrupt(clean, name, 5, 0).astype(float)
    # The kernel of radius 10 brightens by 1.1 %; cutting fractions darkens by up to a grey level.
    assert blurred.mean() == pytest.approx(clean.mean(), abs=4.0)
    detail = np.abs(np.diff(clean.astype(float), axis=2)).mean()
    if not (name == "glass_blur" and side == 32):
        assert np.abs(np.diff(blurred, axis=2)).mean() < 0.8 * detail
