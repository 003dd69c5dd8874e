"""`edge-tta run` with its guard: what it does is in the log, the summary and the predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Result, call, records

FRAMES = 40
HARMFUL = ("run", "demo", "--max-frames", FRAMES, "--method", "norm", "--filter", "off")
"""A frame's own statistics are too few for this network."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    log = tmp_path_factory.mktemp("guarded") / "log.jsonl"
    return log, call(*HARMFUL, "--compare", "source", "--jsonl", log)


def test_harm_is_answered_by_the_source_and_the_log_says_when_and_why(
    guarded: tuple[Path, Result],
) -> None:
    log, result = guarded
    assert result.code == 0
    seen = records(log)
    fallen = [record["guard"]["fell_back"] for record in seen]
    first = fallen.index(True)
    (event,) = seen[first]["guard"]["events"]
    assert event["kind"] == "fell back"
    assert "the source seems to be right more often" in event["why"]
    for record in seen:
        if record["guard"]["fell_back"]:
            assert record["why"] == f"fell back to source: {event['why']}"
        if record["guard"]["source_weight"] == 1:
            source = record["compared"]["source"]
            for name in ("prediction", "confidence"):
                assert record[name] == source[name]
    assert sum(fallen) > FRAMES / 4
    assert max(record["guard"]["source_weight"] for record in seen) > 0.95


def test_the_summary_says_what_the_guard_did_and_what_it_cost(guarded: tuple[Path, Result]) -> None:
    log, result = guarded
    seen = [record["guard"] for record in records(log)]
    fallen = sum(record["fell_back"] for record in seen)
    weight = sum(record["source_weight"] for record in seen) / FRAMES
    said = " ".join(result.out.split())
    falls = sum(event["kind"] == "fell back" for sign in seen for event in sign.get("events", ()))
    times = "once" if falls == 1 else f"{falls} times"
    last = "" if falls == 1 else "last: "
    assert f"guard: fell back to the source network {times} ({last}the source seems to be" in said
    assert "adapted and source networks differ on " in said
    assert f"for {fallen} of {FRAMES} frames" in said
    assert f"of the frames and had {weight:.0%} of the weight in the answers" in said


def test_where_nothing_happens_the_summary_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    result = call("run", "demo", "--max-frames", 32, "--jsonl", log)
    assert "guard: no sign of harm; the source network ran on " in " ".join(result.out.split())
    signs = [record["guard"] for record in records(log)]
    assert not any(sign["fell_back"] for sign in signs)
    for name in ("source_weight", "disagreement", "drift"):
        assert all(0 <= sign[name] <= 1 for sign in signs)


@pytest.mark.parametrize("words", [("--guard", "off"), ("--method", "source")], ids=str)
def test_without_a_guard_there_is_no_word_of_it(words: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    result = call("run", "demo", "--max-frames", 8, "--jsonl", log, *words)
    assert result.code == 0
    assert "guard" not in result.out
    assert all("guard" not in record for record in records(log))


def test_a_state_that_is_saved_after_a_fall_is_the_source(tmp_path: Path) -> None:
    state, logs = tmp_path / "state.safetensors", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    assert call(*HARMFUL, "--state", state).code == 0
    more = ("--max-frames", 1, "--guard", "off")
    assert call(*HARMFUL, *more, "--state", state, "--jsonl", logs[0]).code == 0
    assert call(*HARMFUL, *more, "--jsonl", logs[1]).code == 0
    (resumed,), (fresh,) = records(logs[0]), records(logs[1])
    assert resumed["confidence"] == pytest.approx(fresh["confidence"], abs=1e-4)
