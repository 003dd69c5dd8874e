"""The pace of a run."""

from __future__ import annotations

import pytest

from edge_tta.run import timing


def test_the_pace_is_of_the_latest_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(timing.time, "monotonic", lambda: now_s)
    rate = timing.Rate()
    rate.tick()
    assert rate.fps is None
    for fps, frames in ((5, 1), (10, 200), (2, 40)):
        for _ in range(frames):
            now_s += 1 / fps
            rate.tick()
        assert rate.fps == pytest.approx(fps)
