"""`kill -9`: the state is never lost. `edge-tta bench faults` does the same 200 times."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.faults import _loss_s
from tests.cli.commands import spawn


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX's")
def test_killed_runs_go_on_from_every_save_that_had_finished(tmp_path: Path) -> None:
    path = tmp_path / "kills.json"
    result = spawn("bench", "faults", "--kills", 5, "--json", path)
    assert (result.code, result.err) == (0, ""), result
    (row,) = json.loads(path.read_text())["results"]
    assert row["kills"] == 5
    assert row["steps"] > 10
    for fault in ("unreadable", "lost_saves", "backward", "leftovers"):
        assert row[fault] == 0, fault
    assert row["longest_loss_s"] < 0.6  # runs of half a second: something was kept


def test_the_loss_is_the_time_of_the_frames_that_the_state_has_not() -> None:
    seen = [(1, 0, 10.0), (2, 0, 10.5), (3, 2, 11.25), (4, 2, 12.0)]
    assert _loss_s(seen, 2) == 0.75
    assert _loss_s(seen, 3) == _loss_s(seen, 4) == _loss_s(seen, 9) == 0.0
    assert _loss_s(seen, 0) == 2.0
