"""Which frames the guard has adapted by."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tta.guard.news import CUT, FIRST_OF_SCENE, LATER, News
from edge_tta.temporal.novelty import Novelty


def scenes(count: int, length: int, step: float = 0.02) -> list[np.ndarray]:
    """Block means (1, 3, 4, 4): scenes unlike each other, of near-copies."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        scene = rng.normal(size=(1, 3, 4, 4))
        frames += [scene + step * rng.normal(size=scene.shape) for _ in range(length)]
    return frames


def _within(frames: list[np.ndarray]) -> float:
    """The usual novelty of frames within a scene."""
    novelty = Novelty()
    within = float(np.median([novelty.update(frame[0]) for frame in frames]))
    assert within < CUT / 2
    return within


def test_the_first_frames_of_each_scene_are_enough_and_later_ones_need_more_news() -> None:
    frames = scenes(6, 40)
    within = _within(frames)
    # Half a frame's news: each of the first frames has it, of later ones every third.
    news = News(within / 2)
    enough = np.array([news.is_enough(frame) for frame in frames]).reshape(6, 40)
    assert enough[:, :FIRST_OF_SCENE].all()
    assert enough[:, FIRST_OF_SCENE:].mean() == pytest.approx(1 / np.ceil(LATER / 2), abs=0.05)


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
    frames = scenes(1, 80)
    within = _within(frames)
    # A first frame alone brings too little, a later batch of eight enough.
    by_one, by_eight = News(1.3 * within), News(1.3 * within)
    assert [by_one.is_enough(frame) for frame in frames[:3]] == [True, False, True]
    batches = [np.concatenate(frames[i : i + 8]) for i in range(0, 80, 8)]
    assert [by_eight.is_enough(batch) for batch in batches] == [True] * len(batches)
    # The first eight images are the scene's first frames: the next need five times as much.
    alone = News(1.3 * within)
    assert alone.is_enough(batches[0])
    assert [alone.is_enough(frame) for frame in frames[8:12]] == [False] * 4
