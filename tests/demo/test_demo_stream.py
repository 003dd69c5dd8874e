from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from edge_tta.demo.conditions import CONDITIONS
from edge_tta.demo.faces import CLASSES
from edge_tta.demo.signs import FRAME_SIZE
from edge_tta.demo.stream import CLEAR, DemoFrame, clean_set, drive, weather


def test_same_seed_gives_same_drive() -> None:
    for one, other in zip(drive(60, seed=3), drive(60, seed=3), strict=True):
        assert np.array_equal(one.frame, other.frame)
        assert (one.label, one.condition, one.severity) == (
            other.label,
            other.condition,
            other.severity,
        )


def test_another_seed_gives_another_drive() -> None:
    assert not np.array_equal(next(drive(60, seed=3)).frame, next(drive(60, seed=4)).frame)


@pytest.mark.parametrize("frames", [1, 7, 60])
def test_a_drive_has_as_many_frames_as_asked(frames: int) -> None:
    seen = list(drive(frames))
    assert len(seen) == frames
    for one in seen:
        assert one.frame.shape == (FRAME_SIZE, FRAME_SIZE, 3)
        assert one.frame.dtype == np.uint8
        assert 0 <= one.label < len(CLASSES)
        assert (one.condition == CLEAR) == (one.severity == 0.0)


def test_signs_last_4_to_10_frames_and_all_come_by(trip: list[DemoFrame]) -> None:
    """Runs of one label; two signs of one class may follow each other, so only most are short."""
    labels = [one.label for one in trip]
    runs = [len(list(run)) for _, run in itertools.groupby(labels)][:-1]
    assert min(runs) >= 4
    assert np.median(runs) <= 10
    assert set(labels) == set(range(len(CLASSES)))


def test_frames_of_one_sign_resemble_each_other() -> None:
    clear = list(drive(120, seed=1))[:12]
    within: list[float] = []
    between: list[float] = []
    for one, other in itertools.pairwise(clear):
        same_sign = one.label == other.label
        step = float(np.abs(one.frame.astype(float) - other.frame).mean())
        (within if same_sign else between).append(step)
    assert np.mean(within) < 0.5 * np.mean(between)


def test_weather_is_clear_first_and_between_and_every_condition_holds() -> None:
    plan = weather(1800)
    assert len(plan) == 1800
    assert all(condition == CLEAR for condition, _ in plan[:180])
    order = [condition for condition, _ in itertools.groupby(plan, key=lambda step: step[0])]
    expected = [CLEAR]
    for name in CONDITIONS:
        expected += [name, CLEAR]
    assert order == expected
    for name in CONDITIONS:
        severities = [severity for condition, severity in plan if condition == name]
        assert severities.count(1.0) > 0.5 * len(severities)
        assert max(abs(a - b) for a, b in itertools.pairwise(severities)) < 0.05


def test_the_camera_needs_no_torch() -> None:
    code = "import sys, edge_tta.demo.stream, edge_tta.demo.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_senseless_counts_and_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="frames must be at least 1, got 0"):
        next(drive(0))
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        next(drive(10, seed=-1))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        clean_set(0, seed=1)
