"""`edge-tta run` with its guard: what it does is in the log, the summary and the predictions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tta.demo.stream import clean_set
from tests.cli.commands import Result, call, records

FRAMES = 160


@pytest.fixture(scope="module")
def one_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clean road sign, over and over."""
    path = tmp_path_factory.mktemp("one-class")
    frames, _ = clean_set(1, seed=30_001)
    picture = cv2.cvtColor(frames[0], cv2.COLOR_RGB2BGR)
    for number in range(FRAMES):
        cv2.imwrite(str(path / f"{number:03d}.png"), picture)
    return path


@pytest.fixture(scope="module")
def guarded(one_class: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    log = tmp_path_factory.mktemp("guarded") / "log.jsonl"
    return log, call("run", one_class, "--compare", "source", "--jsonl", log)


def test_a_stream_of_one_class_is_answered_by_the_source_and_the_log_says_when_and_why(
    guarded: tuple[Path, Result],
) -> None:
    log, result = guarded
    assert result.code == 0
    seen = records(log)
    fallen = [record["guard"]["fell_back"] for record in seen]
    first = fallen.index(True)
    assert all(fallen[first:])
    (event,) = seen[first]["guard"]["events"]
    assert event["kind"] == "fell back"
    assert "one class" in event["why"]
    assert sum("events" in record["guard"] for record in seen) == 1
    for record in seen[first:]:
        assert record["why"] == f"fell back to source: {event['why']}"
        assert record["adapted"] is False
        assert record["raw"]["prediction"] == record["compared"]["source"]["prediction"]
        assert record["raw"]["confidence"] == record["compared"]["source"]["confidence"]


def test_the_summary_says_what_the_guard_did_and_what_it_cost(guarded: tuple[Path, Result]) -> None:
    log, result = guarded
    seen = records(log)
    answered = sum(record["guard"]["fell_back"] for record in seen)
    said = " ".join(result.out.split())
    assert "guard: fell back once (last:" in said
    assert f"the source answered {answered} of {FRAMES} frames" in said
    ran = len(range(0, FRAMES - answered, 8)) + answered
    assert f"the source network ran on {ran / FRAMES:.0%} of the frames" in said


def test_where_nothing_happens_the_source_runs_on_one_frame_in_eight(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    result = call("run", "demo", "--max-frames", 32, "--jsonl", log)
    assert "guard: no sign of harm; the source network ran on 12% of the frames" in " ".join(
        result.out.split()
    )
    signs = [record["guard"] for record in records(log)]
    assert not any(sign["fell_back"] for sign in signs)
    assert all(0 <= sign["agreement"] <= 1 for sign in signs)


@pytest.mark.parametrize("words", [("--guard", "off"), ("--method", "source")], ids=str)
def test_without_a_guard_there_is_no_word_of_it(
    words: tuple[str, ...], one_class: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    result = call("run", one_class, "--max-frames", 8, "--jsonl", log, *words)
    assert result.code == 0
    assert "guard" not in result.out
    assert all("guard" not in record for record in records(log))


def test_a_state_that_is_saved_after_a_fall_is_no_worse_than_the_source(
    one_class: Path, tmp_path: Path
) -> None:
    state, log = tmp_path / "state.safetensors", tmp_path / "log.jsonl"
    assert call("run", one_class, "--state", state).code == 0
    again = call("run", one_class, "--max-frames", 1, "--state", state, "--jsonl", log)
    assert again.code == 0
    (record,) = records(log)
    (alone,) = _readings(one_class, tmp_path)
    assert np.isclose(record["confidence"], alone["confidence"], atol=1e-4)


def _readings(pictures: Path, where: Path) -> list[dict[str, float]]:
    log = where / "source.jsonl"
    call("run", pictures, "--max-frames", 1, "--method", "source", "--jsonl", log)
    return records(log)
