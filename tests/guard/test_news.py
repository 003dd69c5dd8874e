"""Which frames the guard has adapted by."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tta.guard.news import CUT, FIRST_FRAMES, LATER, News
from edge_tta.temporal.novelty import Novelty


def scenes(count: int, length: int, step: float = 0.02) -> list[np.ndarray]:
    """Block means (1, 3, 4, 4): scenes unlike each other, of near-copies."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        scene = rng.normal(size=(1, 3, 4, 4))
        frames += [scene + step * rng.normal(size=scene.shape) for _ in range(length)]
    return frames


def test_the_first_frames_of_each_scene_are_enough_and_later_ones_need_more_news() -> None:
    frames = scenes(6, 40)
    novelty = Novelty()
    within = float(np.median([novelty.update(frame[0]) for frame in frames]))
    assert within < CUT / 2
    # Half a frame's news: each of the first frames has it, of later ones every third.
    news = News(within / 2)
    enough = np.array([news.is_enough(frame) for frame in frames]).reshape(6, 40)
    assert enough[:, :FIRST_FRAMES].all()
    assert enough[:, FIRST_FRAMES:].mean() == pytest.approx(1 / np.ceil(LATER / 2), abs=0.05)


def test_unrelated_pictures_are_all_enough_and_so_is_everything_where_no_news_is_asked_for() -> (
    None
):
    unrelated = News(0.2)
    assert all(unrelated.is_enough(frame) for frame in scenes(200, 1))
    anything = News(0.0)
    assert all(anything.is_enough(frame) for frame in scenes(2, 60, 0.0))


def test_the_same_picture_again_is_never_enough() -> None:
    news = News(0.2)
    (frame,) = scenes(1, 1)
    assert [news.is_enough(frame) for _ in range(50)] == [True] + [False] * 49


def test_the_frames_of_a_batch_count_together() -> None:
    frames = scenes(3, 30)
    news = News(0.01)
    batches = [np.concatenate(frames[i : i + 10]) for i in range(0, 90, 10)]
    assert all(news.is_enough(batch) for batch in batches)
