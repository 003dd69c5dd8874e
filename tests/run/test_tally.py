"""Counts over a run, and the table made of them."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest
from rich.console import Console

from edge_tta.frames.source import Frame
from edge_tta.run.frame_result import FilterReport, FrameResult, GuardReport, Outcome
from edge_tta.run.summary import (
    accuracy_line,
    latency_line,
    order_line,
    summary_table,
    warning_line,
)
from edge_tta.run.tally import Errors, Latencies, Mean, Tally
from edge_tta.run.timing import Stages
from edge_tta.tasks import Classes, Classification, Detection, Reading, Task, task_named
from edge_tta.tasks.detection import Boxes, BoxReading
from edge_tta.temporal import Accuracy


def _errors(*seen: tuple[bool, str | None]) -> Errors:
    errors = Errors()
    for wrong, condition in seen:
        errors.add(wrong, condition)
    return errors


def test_error_is_the_share_of_wrong_predictions_in_all_and_by_condition() -> None:
    errors = _errors((True, "fog"), (False, "fog"), (False, "rain"), (True, "fog"), (False, None))
    assert errors.error() == 2 / 5
    assert errors.error("fog") == 2 / 3
    assert errors.error("rain") == 0
    assert errors.error("") == 0


def test_error_of_nothing_is_not_a_number() -> None:
    assert math.isnan(Errors().error())
    assert math.isnan(_errors((True, "fog")).error("rain"))


def test_a_quantile_is_a_latency_that_was_measured() -> None:
    latencies = Latencies()
    for seconds in (5.0, 1.0, 4.0, 2.0, 3.0, 10.0, 9.0, 8.0, 7.0, 6.0):
        latencies.append(seconds)
    assert latencies.quantile(0.5) == 5.0
    assert latencies.quantile(0.9) == 9.0
    assert latencies.quantile(0.0) == 1.0
    assert latencies.quantile(1.0) == 10.0


def test_quantiles_are_of_the_latest_latencies_only() -> None:
    latencies = Latencies()
    for _ in range(100):
        latencies.append(1000.0)
    for _ in range(10_000):
        latencies.append(1.0)
    assert latencies.quantile(1.0) == 1.0
    assert math.isnan(Latencies().quantile(0.5))


def test_conditions_are_listed_once_in_the_order_they_came() -> None:
    tally = Tally()
    tally.errors["norm"] = _errors((True, "fog"), (True, None), (False, "rain"), (True, "fog"))
    tally.errors["source"] = _errors((True, "rain"), (True, "glare"))
    assert tally.conditions() == ["fog", "rain", "glare"]


def test_a_mean_is_over_finite_values() -> None:
    mean = Mean()
    assert math.isnan(mean.value)
    for value in (1.0, math.nan, 2.0, math.inf):
        mean.add(value)
    assert mean.value == 1.5


def test_stages_are_timed_apart() -> None:
    tally = Tally()
    tally.time({"read": 0.001, "adapt": 0.010})
    tally.time({"read": 0.003, "adapt": 0.020, "show": 0.5})
    assert latency_line(tally) == (
        "ms a frame, median (p90): read 1.0 (3.0), adapt 10.0 (20.0), show 500.0 (500.0)"
    )


def test_the_table_puts_the_adapted_network_last_and_the_conditions_across() -> None:
    tally = Tally(frames=4, labelled=4)
    tally.errors["nanoadapt:tent"] = _errors((True, "fog"), (False, "fog"), (False, "rain"))
    tally.errors["source"] = _errors((True, "fog"), (True, "fog"), (False, "rain"))
    lines = _printed(tally)
    assert lines[1].split("|")[1:] == ["error %", "fog", "rain"]
    assert lines[2:] == ["source|66.7|100.0|0.0", "nanoadapt:tent|33.3|50.0|0.0"]


def test_a_method_that_came_late_has_a_dash_where_it_saw_nothing() -> None:
    tally = Tally(frames=2, labelled=2)
    tally.errors["nanoadapt:tent"] = _errors((True, "fog"), (False, "rain"))
    tally.errors["source"] = _errors((True, "rain"))
    assert _printed(tally)[2] == "source|100.0|-|100.0"


def test_without_labels_the_table_tells_of_entropy_and_classes_by_method() -> None:
    tally = Tally(frames=4)
    tally.predicted["nanoadapt:tent"] = Counter([0, 0, 0, 1])
    tally.predicted["norm"] = Counter([1, 1, 1, 1])
    tally.entropies["nanoadapt:tent"] = Mean(2.0, 4)
    tally.entropies["norm"] = Mean()
    lines = _printed(tally, ("stop", "yield"))
    assert "error" not in lines[1]
    assert lines[2:] == [
        "Pred BN (norm)|-|1|yield 100%",
        "nanoadapt:tent|0.500|2|stop 75%, yield 25%",
    ]


@pytest.mark.parametrize(
    ("task", "header", "row"),
    [
        ("segment", "method|entropy (nats)|largest class", "norm|0.500|stop 75%, yield 25%"),
        ("detect", "method|boxes a frame|class of most boxes", "norm|2.0|stop 75%, yield 25%"),
        ("features", "method", "norm"),
    ],
)
def test_without_labels_the_table_tells_what_outputs_of_the_task_say(
    task: str, header: str, row: str
) -> None:
    tally = Tally(frames=2)
    tally.predicted["nanoadapt:norm"] = Counter([0, 0, 0, 1])
    tally.entropies["nanoadapt:norm"] = Mean(2.0, 4)
    tally.seen["nanoadapt:norm"] = 2
    lines = _printed(tally, ("stop", "yield"), task=task_named(task))
    assert lines[1:] == [header, f"nanoadapt:{row}"]


def test_of_boxes_each_counts_and_a_frame_without_any_is_of_no_class() -> None:
    names, task = Classes(2), Detection()
    some = Boxes(np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.array([1, 1, 0]))
    readings = [_of_boxes(some, names), _of_boxes(some.above(2.0), names)]
    tally = Tally()
    for reading in readings[::-1]:
        tally.count(_result(reading))
        lines = _printed(tally, task=task)
    assert lines[2:] == ["nanoadapt:tent|1.5|class 1 67%, class 0 33%"]
    tally = Tally()
    tally.count(_result(readings[1]))
    assert _printed(tally, task=task)[2:] == ["nanoadapt:tent|0.0|-"]


def _of_boxes(boxes: Boxes, classes: Classes) -> BoxReading:
    return BoxReading(0, "", 0.0, math.nan, math.nan, (), boxes, classes)


def _result(reading: Reading) -> FrameResult:
    frame = Frame(0, np.zeros((4, 4, 3), np.uint8), 0.0, "x")
    return FrameResult(
        frame=frame, truth=None, method="nanoadapt:tent", reading=reading, raw=reading, filter=None,
        alarm=None, own=reading, source=None, compared={}, outcome=Outcome.CALIBRATED, why="",
        steps=1, updates=0, guard=None, fps=None, stages=Stages(),
    )  # fmt: skip


def test_on_a_narrow_terminal_names_are_folded_and_figures_whole() -> None:
    conditions = ["clear", "fog", "night", "motion blur", "glare", "rain"]
    tally = Tally(frames=6, labelled=6)
    for name in ("source", "nanoadapt:of_a_long_name+filter"):
        tally.errors[name] = _errors(*((condition == "fog", condition) for condition in conditions))
    lines = _printed(tally, width=80)
    figures = "16.7|0.0|100.0|0.0|0.0|0.0|0.0"
    rows = [line for line in lines if figures in line]
    assert rows == [f"source|{figures}", f"nanoadapt:of_a_long_n|{figures}"]
    assert lines[-1] == "ame+filter"


def _printed(
    tally: Tally,
    names: tuple[str, ...] | None = None,
    *,
    width: int = 200,
    task: Task = Classification(),  # noqa: B008 - it has no state
) -> list[str]:
    """Lines of the table, cells separated by |, without rules."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(summary_table(tally, "nanoadapt:tent", Classes(2, names), task))
    lines = [line for line in capture.get().splitlines() if line[0] not in "┏┡└├"]
    return [
        "|".join(cell.strip() for cell in re.split("[│┃]", line.strip("│┃ "))) for line in lines
    ]


def _labelled(source: int, adapted: int) -> Tally:
    """Of ten frames so many wrong."""
    tally = Tally()
    for name, wrong in (("source", source), ("tent", adapted)):
        tally.errors[name] = _errors(*((i < wrong, None) for i in range(10)))
        tally.entropies[name] = Mean(10.0 * (name == "tent"), 10)
    return tally


def test_more_errors_than_the_source_network_are_warned_of() -> None:
    assert warning_line(_labelled(3, 3), "tent") is None
    assert warning_line(_labelled(9, 3), "tent") is None  # labels count, not entropy
    said = warning_line(_labelled(3, 4), "tent")
    assert said is not None
    assert "40.0 % against 30.0 %" in said
    assert "--method source" in said


def test_far_more_doubt_than_the_source_network_is_warned_of_without_labels() -> None:
    for source, adapted, warns in ((2.6, 5.9, True), (2.6, 3.2, False), (0.1, 0.5, False)):
        tally = Tally(entropies={"source": Mean(source, 1), "tent": Mean(adapted, 1)})
        assert (warning_line(tally, "tent") is not None) == warns


def test_what_came_class_after_class_is_told() -> None:
    for labels, tells in (
        ([0] * 30 + [1] * 30, True),
        ([0] * 30 + [1] * 30 + [0] * 30, False),  # a class came again
        ([0, 1] * 30, False),
        ([0] * 60, False),
        ([0] * 8 + [1] * 8, False),
    ):
        tally = _labelled(3, 4)
        for label in labels:
            tally.count_label(label)
        said = order_line(tally, "tent") or ""
        assert ("30 frames in a row" in said) == tells
        assert order_line(tally, "source") is None
        assert "40.0 % against 30.0 %" in (warning_line(tally, "tent") or "")


def test_a_run_without_the_source_network_is_not_warned_of() -> None:
    tally = _labelled(0, 9)
    del tally.errors["source"], tally.entropies["source"]
    assert warning_line(tally, "tent") is None


@pytest.mark.parametrize(
    ("adapted", "fallen", "frames", "said"),
    [
        ("nanoadapt:tent", None, 99, "unknown before 100 frames"),
        ("source", None, 99, "unknown before 100 frames"),
        ("nanoadapt:tent", None, 100, "then it takes --source-frames and --source-accuracy"),
        ("source", None, 100, "of the source network nothing else tells"),
        ("nanoadapt:tent", "harm", 100, "of the source network nothing else tells"),
    ],
)
def test_why_the_accuracy_is_unknown_is_told(
    adapted: str, fallen: str | None, frames: int, said: str
) -> None:
    tally = Tally(
        frames=5000,
        filter=FilterReport(1.0, 1.0, None, 1.0, None, None, frames),
        guard=GuardReport(fallen, (), 1, 1.0, 1.0, None, 0.0, None, None),
    )
    line = accuracy_line(tally, adapted)
    assert line is not None
    assert said in line
    assert ("--source-frames" in line) == ("--source-frames" in said)


def test_the_accuracy_is_of_the_frames_since_a_reset() -> None:
    known = Accuracy(0.8, 0.75, 0.85), Accuracy(0.6, 0.5, 0.65)
    tally = Tally(frames=5000, filter=FilterReport(0.1, 9.0, None, 1.0, *known, 120))
    assert accuracy_line(tally, "nanoadapt:tent") == (
        "estimated accuracy, latest 120 frames: 80.0% (75 to 85); without the filter 60.0% "
        "(50 to 65)"
    )
    assert accuracy_line(Tally(frames=5000), "tent") is None
