"""When a run's state is saved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.numpy import load_file

from edge_tta.adapter import Adapter
from edge_tta.errors import OutputError, StateError
from edge_tta.run.sinks import keeper
from edge_tta.run.sinks.keeper import StateKeeper
from tests.networks import network


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(keeper, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def adapter() -> Adapter:
    return Adapter(network("plain"), "norm")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


def _step(adapter: Adapter) -> None:
    adapter(torch.full((1, 3, 8, 8), float(adapter.steps)))


def test_saves_once_the_time_has_come_and_not_before(
    adapter: Adapter, path: Path, clock: Clock
) -> None:
    kept = StateKeeper(adapter, path, 10.0)
    _step(adapter)
    clock.now_s += 9.9
    kept.save_if_due()
    assert not path.exists()
    clock.now_s += 0.1
    kept.save_if_due()
    assert load_file(path)["steps"] == 1


def test_the_time_counts_from_the_last_save(adapter: Adapter, path: Path, clock: Clock) -> None:
    kept = StateKeeper(adapter, path, 10.0)
    for expected in (0, 2, 2, 4):
        _step(adapter)
        clock.now_s += 6.0
        kept.save_if_due()
        assert (int(load_file(path)["steps"]) if path.exists() else 0) == expected


def test_the_end_saves_whatever_the_time(adapter: Adapter, path: Path, clock: Clock) -> None:
    kept = StateKeeper(adapter, path, 1e9)
    _step(adapter)
    kept.save()
    assert load_file(path)["steps"] == 1


def test_nothing_is_saved_before_the_first_step(adapter: Adapter, path: Path, clock: Clock) -> None:
    kept = StateKeeper(adapter, path, 1.0)
    clock.now_s += 5.0
    kept.save_if_due()
    adapter.prepare((3, 8, 8))
    kept.save()
    assert not path.exists()


def test_nothing_is_saved_twice(adapter: Adapter, path: Path, clock: Clock) -> None:
    kept = StateKeeper(adapter, path, 1.0)
    _step(adapter)
    kept.save()
    path.unlink()
    clock.now_s += 5.0
    kept.save_if_due()
    kept.save()
    assert not path.exists()


def test_a_save_that_was_asked_for_is_there_or_the_problem_is_told(
    adapter: Adapter, path: Path
) -> None:
    kept = StateKeeper(adapter, path, 1e9)
    _step(adapter)
    assert kept.save_as_asked() is None
    saved_s = kept.saved_s
    assert saved_s is not None
    path.unlink()
    assert kept.save_as_asked() is None
    assert path.is_file()
    path.unlink()
    path.mkdir()
    problem = kept.save_as_asked()
    assert problem is not None
    assert str(path) in problem
    assert kept.problem == problem
    path.rmdir()
    assert kept.save_as_asked() is None
    assert kept.problem is None


def test_what_was_reset_after_a_save_is_not_resumed(adapter: Adapter, path: Path) -> None:
    kept = StateKeeper(adapter, path, 1e9)
    _step(adapter)
    kept.save()
    adapter.reset()
    kept.close()
    assert load_file(path)["steps"] == 0


def test_as_many_steps_as_before_the_reset_are_saved_again(adapter: Adapter, path: Path) -> None:
    kept = StateKeeper(adapter, path, 1e9)
    for value in (1.0, 2.0):
        adapter(torch.full((1, 3, 8, 8), value))
        kept.save()
        saved = load_file(path)["calib.offset"]
        assert (saved == adapter.state["calib.offset"].numpy()).all()
        adapter.reset()


def test_an_existing_state_is_resumed(adapter: Adapter, path: Path) -> None:
    assert not StateKeeper(adapter, path, 1.0).resumed
    _step(adapter)
    _step(adapter)
    adapter.save(path)
    again = Adapter(adapter.engine.network, "norm")
    assert StateKeeper(again, path, 1.0).resumed
    again.prepare((3, 8, 8))
    assert again.steps == 2


def test_a_foreign_state_is_refused_and_stays(adapter: Adapter, path: Path) -> None:
    path.write_bytes(b"something else")
    with pytest.raises(StateError, match="damaged"):
        StateKeeper(adapter, path, 1.0)
    assert path.read_bytes() == b"something else"


def test_a_missing_folder_is_told_at_once(adapter: Adapter, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make it first"):
        StateKeeper(adapter, tmp_path / "gone" / "state.safetensors", 1.0)
