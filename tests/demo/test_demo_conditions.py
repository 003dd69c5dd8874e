from __future__ import annotations

import numpy as np
import pytest

from edge_tta.demo.conditions import CONDITIONS, Frame
from edge_tta.demo.signs import render

SEVERITIES = (0.0, 0.3, 0.6, 1.0)


@pytest.fixture(scope="module")
def frame() -> Frame:
    return render(np.random.default_rng(0), 3)


def change(before: Frame, after: Frame) -> float:
    return float(np.abs(before.astype(float) - after).mean())


@pytest.mark.parametrize("name", CONDITIONS)
def test_severity_0_changes_nothing(name: str, frame: Frame) -> None:
    same = CONDITIONS[name](frame, 0.0, np.random.default_rng(1))
    assert np.array_equal(same, frame)
    assert not np.shares_memory(same, frame)


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_condition_gives_a_frame_and_leaves_its_input(
    name: str, severity: float, frame: Frame
) -> None:
    before = frame.copy()
    after = CONDITIONS[name](frame, severity, np.random.default_rng(1))
    assert after.dtype == np.uint8
    assert after.shape == frame.shape
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("name", CONDITIONS)
def test_severity_grows_the_change(name: str, frame: Frame) -> None:
    changes = [
        change(frame, CONDITIONS[name](frame, severity, np.random.default_rng(1)))
        for severity in SEVERITIES
    ]
    assert changes == sorted(changes)
    assert changes[-1] > 3.0


@pytest.mark.parametrize("name", CONDITIONS)
def test_same_seeds_give_same_frames(name: str, frame: Frame) -> None:
    first, second = (
        CONDITIONS[name](frame, 0.8, np.random.default_rng(1), np.random.default_rng(2))
        for _ in range(2)
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", ["night", "motion blur", "glare", "rain"])
def test_flicker_changes_less_than_a_new_place(name: str, frame: Frame) -> None:
    def at(lasting: int, flicker: int) -> Frame:
        rngs = np.random.default_rng(lasting), np.random.default_rng(flicker)
        return CONDITIONS[name](frame, 1.0, *rngs)

    flickered = change(at(1, 1), at(1, 2))
    assert 0.0 < flickered <= change(at(1, 1), at(5, 2))


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("shape", [(48, 96, 3), (121, 75, 3)])
def test_frames_need_not_be_square(name: str, shape: tuple[int, int, int]) -> None:
    grey = np.full(shape, 120, np.uint8)
    assert CONDITIONS[name](grey, 1.0, np.random.default_rng(0)).shape == shape


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("severity", [-0.1, 1.1, float("nan")])
def test_severity_out_of_range_is_refused(name: str, severity: float, frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"severity must be in \[0, 1\]"):
        CONDITIONS[name](frame, severity, np.random.default_rng(0))


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_is_no_frame_is_refused(name: str, frame: Frame) -> None:
    with pytest.raises(ValueError, match="frame must be uint8"):
        CONDITIONS[name](frame[..., 0], 0.5, np.random.default_rng(0))
