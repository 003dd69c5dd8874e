"""What a run tells while it goes on."""

from __future__ import annotations

import pytest

from edge_tta.cli.telling import Pace


def test_the_pace_is_of_the_latest_seconds() -> None:
    pace = Pace(100.0)
    assert pace.fps(5, 101.0) == pytest.approx(5)
    for second in range(1, 21):  # ten frames a second, then two
        pace.fps(10 * second, 100.0 + second)
    for second in range(1, 7):
        latest = pace.fps(200 + 2 * second, 120.0 + second)
    assert latest == pytest.approx(2)
