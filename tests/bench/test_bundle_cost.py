"""Peers of `edge-tta bench bundle` run in processes of their own and answer."""

from __future__ import annotations

from pathlib import Path

from bench.bundle.measure import Setup, latencies, memories
from bench.bundle.peers import PEERS
from edge_tta.cli.loading import DEMO_BUNDLE


def test_peers_take_turns_and_tell_time_and_memory(tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(DEMO_BUNDLE)
    setup = Setup(tmp_path, "demo", "", 1)
    names = ["bundle observe", "bundle learn, memory"]
    assert set(names) < set(PEERS)
    rows = latencies(names, setup, 3)
    assert [row["method"] for row in rows] == names
    assert all(len(row["raw_s"]) == 3 and min(row["raw_s"]) > 0 for row in rows)
    (row,) = memories(names[1:], setup, 2)
    peak = row["process_peak_bytes"]
    assert peak is None or 20e6 < peak < 600e6
