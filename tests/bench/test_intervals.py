"""95 % intervals of errors and of their mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.error import mean_of
from bench.error.intervals import student
from edge_tta.temporal.accuracy import wilson
from tests.bench.rows import row


@pytest.mark.parametrize(
    ("wrong", "n", "low", "high"),
    [
        # Brown, Cai, DasGupta (2001) and the closed form z^2 / (n + z^2) at the ends.
        (10, 100, 0.0552, 0.1744),
        (50, 100, 0.4038, 0.5962),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_the_interval_is_wilson_s(wrong: int, n: int, low: float, high: float) -> None:
    assert wilson(wrong / n, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("wrong", "n"), [(1, 7), (333, 1000), (999, 1000)])
def test_the_interval_s_ends_solve_wilson_s_equation(wrong: int, n: int) -> None:
    """|p - x| = z sqrt(x (1 - x) / n) at both ends x."""
    for end in wilson(wrong / n, n):
        assert abs(wrong / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n))


@pytest.mark.parametrize(
    ("freedom", "point"),
    # Published tables of Student's t, two-sided 95 %.
    [(1, 12.7062), (4, 2.7764), (10, 2.2281), (11, 2.2010), (20, 2.0860), (60, 2.0003)],
)
def test_student_s_points_are_those_of_the_tables(freedom: int, point: float) -> None:
    assert student(freedom) == pytest.approx(point, abs=1.5e-4)


def test_no_freedom_has_no_interval() -> None:
    with pytest.raises(ValueError, match="freedom must be 1"):
        student(0)


def test_the_mean_leaves_clean_pictures_out_unless_there_is_nothing_else() -> None:
    rows = [row("tent", "fog", 0.2), row("tent", "clean", 0.0), row("tent", "snow", 0.4)]
    assert mean_of(rows).error == pytest.approx(0.3)
    assert mean_of(rows).corruptions == ("fog", "snow")
    assert mean_of(rows[1:2]).error == 0.0
    assert mean_of(rows[1:2]).corruptions == ("clean",)


def test_no_rows_have_no_mean() -> None:
    with pytest.raises(ValueError, match="rows"):
        mean_of([])


def test_the_mean_of_one_corruption_and_seed_has_that_row_s_interval() -> None:
    own = row("tent", "fog", 0.2)
    mean = mean_of([own])
    assert (mean.low, mean.high) == pytest.approx((own.error_low, own.error_high))


def test_intervals_of_corruptions_are_combined_as_independent() -> None:
    """K equal corruptions: the width of one by sqrt(K)."""
    own = row("tent", "fog", 0.3)
    mean = mean_of([row("tent", str(k), 0.3) for k in range(9)])
    assert mean.error - mean.low == pytest.approx((0.3 - own.error_low) / 3)
    assert mean.high - mean.error == pytest.approx((own.error_high - 0.3) / 3)


def test_the_interval_holds_the_mean_of_95_of_100_draws() -> None:
    """Fifteen corruptions of true errors from 0.05 to 0.9, 200 pictures each, 2,000 draws."""
    truth = np.linspace(0.05, 0.9, 15)
    drawn = np.random.default_rng(0).binomial(200, truth, (2000, 15)) / 200
    inside = 0
    for errors in drawn:
        rows = [row("tent", str(k), e, pictures=200) for k, e in enumerate(errors)]
        mean = mean_of(rows)
        inside += mean.low <= truth.mean() <= mean.high
    assert 0.94 < inside / len(drawn) < 0.96


def test_seeds_that_agree_do_not_narrow_the_interval() -> None:
    """They show the same pictures, so they tell nothing more of other pictures."""
    one = mean_of([row("tent", "fog", 0.3)])
    five = mean_of([row("tent", "fog", by_seed=[0.3] * 5)])
    assert (five.low, five.high) == pytest.approx((one.low, one.high))


def test_seeds_that_differ_add_student_s_interval() -> None:
    seeds = (0.30, 0.36, 0.42)
    mean = mean_of([row("tent", "fog", by_seed=seeds), row("tent", "snow", by_seed=seeds)])
    order = 4.3027 * 0.06 / math.sqrt(3)  # the standard deviation of these three is 0.06
    picture = (0.36 - wilson(0.36, 100)[0]) / math.sqrt(2)
    assert mean.error - mean.low == pytest.approx(math.hypot(order, picture), rel=1e-4)


def test_a_picture_that_stands_still_counts_once() -> None:
    still = mean_of([row("tent", "fog", 0.3, order="still:10", pictures=100)])
    assert (still.low, still.high) == pytest.approx(wilson(0.3, 10))


def test_the_interval_stays_within_0_and_1() -> None:
    mean = mean_of([row("tent", "fog", by_seed=(0.0, 1.0))])
    assert (mean.low, mean.high) == (0.0, 1.0)
