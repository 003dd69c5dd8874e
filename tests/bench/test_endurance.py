"""`bench soak`: what is flat is told as flat, what grows as growing; and the pages of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.report import make_sections
from bench.report.document import markdown
from bench.results import ResultError, make_results, read_results
from bench.soak import SoakRow, SoakSource, Stretch
from tests.cli.commands import assert_one_line_of_advice, call

RESULTS = Path(__file__).parents[2] / "bench" / "results"


def _row(resident: list[float], p50_s: list[float] | None = None, bad: int = -1) -> SoakRow:
    """A run of 1,000 frames a stretch."""
    row = SoakRow("norm", "net", 16, 1000 * len(resident), 0, 0, 0, 1.0, 1.0)
    for number, value in enumerate(resident):
        latency = 1e-3 if p50_s is None else p50_s[number]
        frames = 1000 * (number + 1)
        row.stretches.append(
            Stretch(frames, int(value), 1, 7, latency, latency, 1.0, number != bad)
        )
    return row


def test_growth_is_the_slope_after_the_start() -> None:
    flat = [50e6] + [100e6] * 29
    assert _row(flat).growth_bytes == pytest.approx(0, abs=1)
    leak = [100e6 + 2000 * number for number in range(30)]  # two bytes a frame
    assert _row(leak).growth_bytes == pytest.approx(200_000, rel=1e-6)


def test_latency_is_compared_at_the_end_and_the_start() -> None:
    slower = list(np.linspace(1e-3, 2e-3, 30))
    assert _row([1e6] * 30, slower).latency_ratio > 1.5
    assert _row([1e6] * 30).latency_ratio == 1.0


def test_one_number_that_is_not_finite_is_told() -> None:
    assert _row([1e6] * 5).finite
    assert not _row([1e6] * 5, bad=3).finite


def test_the_stream_is_the_same_for_a_seed_and_has_black_frames() -> None:
    frames = [frame.pixels for frame in SoakSource(200, 16, seed=3)]
    again = [frame.pixels for frame in SoakSource(200, 16, seed=3)]
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))
    assert [index for index, pixels in enumerate(frames) if not pixels.any()] == [96, 193]
    assert len({pixels.tobytes() for pixels in frames}) == 199


def test_a_short_soak_measures_what_a_long_one_does(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    result = call("bench", "soak", "--frames", 400, "--save-every", 0.05, "--json", path)
    assert result.code == 0, result.err
    assert "yes" in result.out
    (row,) = json.loads(path.read_text())["results"]
    assert (row["frames"], row["steps"], row["left_out"]) == (400, 396, {"black": 4})
    assert row["updates"] <= 396 // 16  # windows with a sure image
    assert row["saves"] > 0
    assert row["stretches"]["frames"][-1] == 400
    assert all(size > 10e6 for size in row["stretches"]["resident_bytes"])
    page = markdown(make_sections([read_results(path)]))
    assert "| `nanoadapt:tent` | `small` | 400 |" in page


def test_a_soak_runs_what_stands_around_a_method_too(tmp_path: Path) -> None:
    words = ("--frames", 150, "--methods", "nanoadapt:tent+guard+filter")
    result = call("bench", "soak", *words, "--json", tmp_path / "soak.json")
    assert result.code == 0, result.err
    (row,) = json.loads((tmp_path / "soak.json").read_text())["results"]
    assert row["method"] == "nanoadapt:tent+guard+filter"
    assert row["steps"] < 149  # the guard leaves near-copies out
    assert row["finite"]


@pytest.mark.parametrize("more", ["guard", "filter", "every=3"])
def test_kills_are_of_a_method_alone(more: str) -> None:
    result = call("bench", "faults", "--method", f"nanoadapt:tent+{more}", "--kills", 1)
    assert_one_line_of_advice(result, "must be a method alone")


def test_committed_results_show_no_growth_and_no_loss() -> None:
    """What docs/background/endurance.md says."""
    (soak,) = read_results(RESULTS / "soak_small.json").rows
    assert soak["frames"] == 200_000
    assert soak["finite"]
    assert abs(soak["growth_bytes_in_100000_frames"]) < 100_000
    assert len(set(soak["stretches"]["files"])) == len(set(soak["stretches"]["threads"])) == 1
    (kills,) = read_results(RESULTS / "faults_small.json").rows
    assert kills["kills"] == 200
    assert kills["in_mid_write"] == 28
    assert kills["ok"]
    assert kills["longest_loss_over_interval_s"] == 0


@pytest.mark.parametrize("row", [{"soak": True}, {"fault": "kill -9"}], ids=str)
def test_rows_that_lack_something_are_refused(row: dict[str, object]) -> None:
    with pytest.raises(ResultError, match="a row is not as"):
        make_sections([make_results("r", [], [row], {})])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("soak", "--methods", "nonsense"), "nonsense"),
        (("soak", "--json", "gone/x.json"), "make it first"),
        (("faults", "--method", "tent,norm"), "one method"),
        (("faults", "--json", "gone/x.json"), "make it first"),
    ],
)
def test_mistakes_are_told_in_one_line(words: tuple[str, ...], said: str) -> None:
    assert_one_line_of_advice(call("bench", *words), said)
