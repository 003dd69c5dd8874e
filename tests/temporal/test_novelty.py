"""How much of a frame is news."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tta.temporal import Novelty
from edge_tta.temporal.novelty import block_means


def _picture(rng: np.random.Generator, side: int = 32) -> np.ndarray:
    blocks = rng.normal(size=(3, 4, 4)) * 0.7
    return np.kron(blocks, np.ones((side // 4, side // 4))).astype(np.float32)


def _told(novelty: Novelty, image: np.ndarray) -> float:
    return novelty.update(block_means(image))


def test_unrelated_pictures_are_all_news_and_the_same_picture_is_none() -> None:
    rng = np.random.default_rng(0)
    novelty = Novelty()
    unrelated = [_told(novelty, _picture(rng)) for _ in range(300)]
    assert unrelated[0] == 1.0
    assert 0.85 < np.mean(unrelated[50:]) <= 1.0
    picture = _picture(rng)
    _told(novelty, picture)
    assert _told(novelty, picture) == 0.0


def test_a_sensors_noise_on_a_scene_that_stands_still_is_hardly_news() -> None:
    rng = np.random.default_rng(0)
    picture, novelty = _picture(rng, 64), Novelty()
    _told(novelty, picture)
    still = [
        _told(novelty, picture + rng.normal(size=picture.shape).astype(np.float32) * 0.3)
        for _ in range(3000)
    ]
    assert max(still) < 0.45


def test_a_slow_change_is_less_news_than_a_cut() -> None:
    rng = np.random.default_rng(0)
    novelty = Novelty()
    for _ in range(100):
        _told(novelty, _picture(rng))
    a, b = _picture(rng), _picture(rng)
    _told(novelty, a)
    slow = [_told(novelty, a + (b - a) * step / 20) for step in range(1, 21)]
    assert max(slow) < 0.6 < _told(novelty, a)


@pytest.mark.parametrize("factor", [30, 1e4, 1e30])
@pytest.mark.parametrize("wild", [0, 1, 2, 60])
def test_a_wild_frame_is_forgotten_soon(wild: int, factor: float) -> None:
    rng = np.random.default_rng(0)
    novelty = Novelty()
    told = [
        _told(novelty, _picture(rng) * (factor if frame == wild else 1)) for frame in range(400)
    ]
    assert told[wild] == told[wild + 1] == 1.0
    assert np.mean(told[wild + 1 :]) > 0.85


@pytest.mark.parametrize(("scale", "mean"), [(50, 120), (1000, 0)], ids=["pixels", "wide"])
def test_inputs_of_another_scale_are_news_as_pictures_are(scale: float, mean: float) -> None:
    rng = np.random.default_rng(0)
    novelty = Novelty()
    unrelated = [_told(novelty, _picture(rng) * scale + mean) for _ in range(300)]
    assert np.mean(unrelated) > 0.85


def test_means_of_a_large_picture_are_over_evenly_spaced_rows_and_columns() -> None:
    picture = np.full((3, 520, 270), 1e6, np.float32)
    sampled = np.random.default_rng(0).normal(size=(3, 130, 135)).astype(np.float32)
    picture[:, ::4, ::2] = sampled
    np.testing.assert_allclose(block_means(picture), block_means(sampled))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 3), (3, 7, 5), (2, 4, 4)])
def test_inputs_of_any_shape_are_taken(shape: tuple[int, ...]) -> None:
    novelty, rng = Novelty(), np.random.default_rng(0)
    values = [_told(novelty, rng.normal(size=shape).astype(np.float32)) for _ in range(9)]
    assert all(0 <= value <= 1 for value in values)


def test_block_means_are_means() -> None:
    """Against slices written out."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 9, 6)).astype(np.float32)
    novelty = Novelty()
    _told(novelty, np.zeros_like(image))
    blocks = [
        image[c, top:bottom, left:right].mean()
        for c in range(2)
        for top, bottom in ((0, 2), (2, 4), (4, 6), (6, 9))
        for left, right in ((0, 1), (1, 3), (3, 4), (4, 6))
    ]
    # The first running variance is 0.25 as of 20 frames.
    gap = np.array(blocks)
    first = min(1, np.mean(gap**2 / (2 * 0.25)) ** 0.25)
    weight = first**2 / 21
    variance = (1 - weight) * (0.25 + weight * gap**2)
    expected = np.mean(gap**2 / (2 * variance)) ** 0.25
    assert _told(novelty, image) == pytest.approx(min(1, expected), rel=1e-5)


def test_a_change_of_shape_is_news() -> None:
    novelty = Novelty()
    _told(novelty, np.zeros((1, 8, 8), np.float32))
    assert _told(novelty, np.zeros((3, 8, 8), np.float32)) == 1.0
