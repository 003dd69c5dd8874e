"""Power cuts in mid-write, by a model of what a disk then holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.checkpoint import load_state
from edge_tta.errors import StateError
from tests.faults.disk import Recorder, images
from tests.networks import network


def _steps(path: Path) -> int | None:
    """Steps of the state in a file; None when it cannot be read."""
    try:
        return load_state(path)[1].steps
    except StateError:
        return None


def _after_power_cuts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, heed_sync: bool = True
) -> list[tuple[int | None, bool]]:
    """Steps of the state found after a cut at each moment of a save, and whether it had ended."""
    path, left = tmp_path / "state.safetensors", tmp_path / "left.safetensors"
    adapter = Adapter(network("plain"), "norm")
    adapter(torch.zeros(1, 3, 8, 8))
    adapter.save(path)
    old = path.read_bytes()
    adapter(torch.ones(1, 3, 8, 8))
    recorder = Recorder()
    with monkeypatch.context() as patch:
        recorder.install(patch, heed_sync=heed_sync)
        adapter.save(path)
    results = []
    for data, done in images(old, recorder.events):
        left.write_bytes(data)
        results.append((_steps(left), done))
    return results


def test_a_power_cut_leaves_the_old_state_or_the_new_and_after_the_save_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = _after_power_cuts(tmp_path, monkeypatch)
    assert {steps for steps, done in results if not done} == {1, 2}
    assert {steps for steps, done in results if done} == {2}


def test_without_the_syncs_the_same_cuts_would_lose_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is able to find the fault that the syncs are there for."""
    results = _after_power_cuts(tmp_path, monkeypatch, heed_sync=False)
    assert None in {steps for steps, _ in results}
    assert 1 in {steps for steps, done in results if done}
