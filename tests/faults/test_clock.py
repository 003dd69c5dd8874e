"""Devices without a clock of their own jump by years when the network tells them the time."""

from __future__ import annotations

import ast
import itertools
import time
from pathlib import Path

import pytest
import torch

import edge_tta
from edge_tta.adapter import Adapter
from edge_tta.checkpoint import load_state
from edge_tta.run.sinks.keeper import StateKeeper
from tests.networks import network

WALL_CLOCKS = {"time", "time_ns", "localtime", "gmtime", "now", "utcnow", "today"}


def test_the_runtime_never_asks_what_time_it_is() -> None:
    """All waits, intervals and latencies are of clocks that cannot be set."""
    asked = []
    for path in sorted(Path(edge_tta.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else ""
            if node.func.attr in WALL_CLOCKS and name in ("time", "datetime", "date"):
                asked.append(f"{path.name}:{node.lineno}")
    assert not asked


def test_saves_keep_their_rhythm_when_the_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = itertools.cycle([0.0, 4e9, 1.7e9, -1e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    adapter = Adapter(network("plain"), "norm")
    path = tmp_path / "state.safetensors"
    kept = StateKeeper(adapter, path, 3600.0)
    for _ in range(8):
        adapter(torch.ones(1, 3, 8, 8))
        kept.save_if_due()
    assert not path.exists()
    kept.save()
    assert load_state(path)[1].steps == 8
