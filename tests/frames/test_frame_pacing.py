"""Files and folders at the pace of a camera."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tta.errors import SourceError
from edge_tta.frames import PacedSource, open_source, pacing
from tests.frames.media import Save, textured


class _Clock:
    """A clock that only sleeping, and `work`, move on."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """In place of the real one."""
    made = _Clock()
    monkeypatch.setattr(pacing, "time", made)
    return made


def _times(source: PacedSource, clock: _Clock, work_s: float = 0.0) -> list[float]:
    """When the frames came, in seconds after the first."""
    times = []
    for _ in source:
        times.append(clock.now_s)
        clock.now_s += work_s
    return [time_s - times[0] for time_s in times]


def test_pictures_follow_at_the_rate_that_was_asked_for(
    tmp_path: Path, save: Save, clock: _Clock
) -> None:
    for number in range(6):
        save(tmp_path / f"{number}.png", textured(number))
    with PacedSource(open_source(str(tmp_path), fps=4.0)) as source:
        assert (source.length, source.fps) == (6, 4.0)
        assert _times(source, clock) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25])
    with PacedSource(open_source(str(tmp_path), fps=4.0, stride=2)) as source:
        assert _times(source, clock, work_s=0.1) == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize(("fps", "interval_s"), [(5.0, 0.2), (10.0, 0.1), (40.0, 0.1)])
def test_a_video_plays_in_its_own_time(
    clip: Path, clock: _Clock, fps: float, interval_s: float
) -> None:
    with PacedSource(open_source(str(clip), fps=fps)) as source:
        times = _times(source, clock)
    assert times == pytest.approx([interval_s * number for number in range(len(times))])
    assert times[-1] == pytest.approx(2.0 - interval_s)


def test_a_slow_consumer_waits_for_nothing_and_nothing_is_made_up_for(
    clip: Path, clock: _Clock
) -> None:
    with PacedSource(open_source(str(clip), fps=10.0, max_frames=4)) as source:
        assert _times(source, clock, work_s=0.35) == pytest.approx([0.0, 0.35, 0.7, 1.05])


def test_what_was_left_out_and_errors_come_through(tmp_path: Path, clock: _Clock) -> None:
    (tmp_path / "1.png").write_text("no picture")
    with PacedSource(open_source(str(tmp_path), fps=4.0)) as source:
        with pytest.raises(SourceError, match="none of 1"):
            source.read()
        assert source.dropped == {"unreadable": 1}
