"""A damaged state: the run goes on from the save before it; any other is refused as before."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.checkpoint import load_state
from edge_tta.errors import OutputError, StateError
from edge_tta.run import generations
from edge_tta.run.generations import damaged_of, keeping_previous, previous_of
from edge_tta.run.sinks.keeper import StateKeeper
from tests.cli.commands import call
from tests.frames.media import textured
from tests.networks import network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


def _saved(path: Path, saves: int) -> Adapter:
    """An adapter that saved after each of its steps."""
    adapter = Adapter(network("plain"), "norm")
    kept = StateKeeper(adapter, path, 1e9)
    for number in range(saves):
        adapter(torch.full((1, 3, 8, 8), float(number)))
        kept.save()
    return adapter


def _damage(path: Path) -> bytes:
    data = path.read_bytes()
    damaged = data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]
    path.unlink()  # as a bad block would: the other name's file is not touched
    path.write_bytes(damaged)
    return damaged


def test_the_previous_save_is_one_interval_older(path: Path) -> None:
    _saved(path, 1)
    assert not previous_of(path).exists()
    path.unlink()
    _saved(path, 4)
    assert load_state(path)[1].steps == 4
    assert load_state(previous_of(path))[1].steps == 3
    assert {one.name for one in path.parent.iterdir()} == {path.name, previous_of(path).name}


def test_a_damaged_state_is_replaced_by_the_save_before_it(path: Path) -> None:
    adapter = _saved(path, 3)
    damaged = _damage(path)
    again = Adapter(adapter.engine.network, "norm")
    kept = StateKeeper(again, path, 1e9)
    assert again.steps == 2
    assert kept.recovered is not None
    assert str(damaged_of(path)) in kept.recovered
    assert damaged_of(path).read_bytes() == damaged
    # At once, not at the next save: the run may be killed before.
    assert load_state(path)[1].steps == 2


def test_a_state_that_is_whole_recovers_nothing(path: Path) -> None:
    adapter = _saved(path, 3)
    kept = StateKeeper(Adapter(adapter.engine.network, "norm"), path, 1e9)
    assert kept.resumed
    assert kept.recovered is None


@pytest.mark.parametrize("previous", ["damaged", "missing", "foreign"])
def test_without_a_good_save_before_it_all_files_stay(path: Path, previous: str) -> None:
    adapter = _saved(path, 3)
    _damage(path)
    if previous == "damaged":
        _damage(previous_of(path))
    elif previous == "missing":
        previous_of(path).unlink()
    else:
        other = Adapter(network("residual"), "norm")
        other(torch.zeros(1, 3, 8, 8))
        other.save(previous_of(path))
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    with pytest.raises(StateError, match=f"{path} is damaged"):
        StateKeeper(Adapter(adapter.engine.network, "norm"), path, 1e9)
    assert {one.name: one.read_bytes() for one in path.parent.iterdir()} == before


def test_a_state_of_another_network_is_not_replaced(path: Path) -> None:
    """It is no damage: the user has mixed up two files."""
    _saved(path, 3)
    before = path.read_bytes()
    with pytest.raises(StateError, match="another network"):
        StateKeeper(Adapter(network("residual"), "norm"), path, 1e9)
    assert path.read_bytes() == before


def test_a_save_that_fails_leaves_both_as_they_were(path: Path) -> None:
    _saved(path, 3)
    with pytest.raises(OutputError), keeping_previous(path):
        raise OutputError("no room")
    assert load_state(path)[1].steps == 3
    assert load_state(previous_of(path))[1].steps == 2
    assert len(list(path.parent.iterdir())) == 2


def test_file_systems_without_second_names_keep_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(generations.os, "link", refuse)
    _saved(path, 3)
    assert load_state(path)[1].steps == 3
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_command_line_says_what_it_did(tmp_path: Path) -> None:
    pictures, state = tmp_path / "in", tmp_path / "state.safetensors"
    pictures.mkdir()
    for number in range(3):
        cv2.imwrite(str(pictures / f"{number}.png"), textured(number))
    for _ in range(2):
        assert call("run", pictures, "--state", state).code == 0
    _damage(state)
    result = call("run", pictures, "--state", state)
    assert result.code == 0
    assert f"warning: {state} is damaged; going on from the save before it" in result.err
    assert f"resumed {state} at step 3" in result.err
    assert load_state(state)[1].steps == 6
