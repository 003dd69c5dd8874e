"""Curves over the last minutes."""

from __future__ import annotations

import math

import pytest

from edge_tta.serve import history
from edge_tta.serve.history import History
from edge_tta.serve.hub import Hub
from tests.serve.pages import picture, status


def test_points_are_means_of_a_second_without_what_is_not_finite() -> None:
    points = History()
    for at_s, value in ((0.1, 1.0), (0.5, 2.0), (0.9, math.nan), (2.2, None), (3.0, 4.0)):
        points.add(at_s, {"entropy": value})
    assert points.after(-1.0) == [{"at_s": 0.0, "entropy": 1.5}, {"at_s": 2.0, "entropy": None}]
    points.finish()
    assert points.after(2.0) == [{"at_s": 3.0, "entropy": 4.0}]


def test_only_the_last_minutes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    points = History()
    for second in range(2 * history.KEPT):
        points.add(second, {"fps": 1.0})
    points.finish()
    assert len(points.after(-1.0)) == history.KEPT


def test_a_viewer_gets_each_point_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, clock = Hub(), iter((0.5, 1.5, 2.5, 3.5))
    monkeypatch.setattr(hub, "time_s", lambda: next(clock))
    views, found = hub.views(0.0, 0.0), []
    for _ in range(4):
        hub.publish(picture(), status(), {"fps": 1.0})
        view = next(views)
        assert view is not None
        found.append([point["at_s"] for point in view.points])
    assert found == [[], [0.0], [1.0], [2.0]]
    again = next(hub.views(0.0, 0.0))
    assert again is not None
    assert len(again.points) == 3
