"""States whose checksum is right and whose values no adaptation makes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from edge_tta.checkpoint import Arrays, Header, digest_of, load_state, save_state
from edge_tta.errors import DamagedStateError, StateError

HEADER = Header("0" * 64, {"optimizer": {"accumulation": 16}}, {}, (3, 8, 8), 40)
ARRAYS = {
    "calib.offset": np.linspace(-3, 3, 8, dtype=np.float32),
    "calib.variance": np.ones(8, np.float32),
    "opt.second_moment": np.zeros(4, np.float32),
    "steps": np.array(40),
    "opt.updates": np.array(2),
    "opt.position": np.array(8),
}


def _saved(path: Path, **changes: Any) -> Path:
    arrays = {**ARRAYS, **changes}
    return _with_header(path, arrays, tensors_sha256=digest_of(arrays))


def _with_header(path: Path, arrays: Arrays, **changes: str) -> Path:
    save_state(path, ARRAYS, HEADER)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    path.write_bytes(save(arrays, {**metadata, **changes}))
    return path


def _refused(path: Path, match: str) -> None:
    with pytest.raises(DamagedStateError, match=match) as told:
        load_state(path)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400
    assert "start with another --state file" in str(told.value)


def test_values_that_adaptation_makes_are_taken(tmp_path: Path) -> None:
    arrays, header = load_state(_saved(tmp_path / "state"))
    assert header == HEADER
    assert arrays.keys() == ARRAYS.keys()


@pytest.mark.parametrize(
    "steps", ["9" * 4000, "9" * 5000, "-5", "1e3", "", " 5", "9" * 17, "5_0", "٣"]
)
def test_steps_that_are_no_count_are_refused(tmp_path: Path, steps: str) -> None:
    _refused(_with_header(tmp_path / "state", ARRAYS, steps=steps), "steps is")


@pytest.mark.parametrize(
    "shape", ["[3, 9999999, 9999999]", "[3, 8, -8]", f"[{'9' * 3000}, 8, 8]", "[3, 8.0, 8]"]
)
def test_images_that_no_network_takes_are_refused(tmp_path: Path, shape: str) -> None:
    _refused(_with_header(tmp_path / "state", ARRAYS, image_shape=shape), "image_shape is")


@pytest.mark.parametrize("name", ["steps", "opt.updates", "opt.position"])
@pytest.mark.parametrize("value", [-1, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_counters_that_count_nothing_are_refused(tmp_path: Path, name: str, value: int) -> None:
    path = _saved(tmp_path / "state", **{name: np.array(value, np.int64)})
    _refused(path, f"in '{name}', expected 0 to")


def test_a_position_beyond_the_window_is_refused(tmp_path: Path) -> None:
    _refused(
        _saved(tmp_path / "state", **{"opt.position": np.array(16)}),
        "holds 16 accumulated gradients, expected fewer than the window's 16",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("calib.offset", 3e38),
        ("calib.offset", -3e38),
        ("calib.variance", -1e-3),
        ("opt.second_moment", -1.0),
    ],
)
def test_values_that_would_end_in_nan_are_refused(tmp_path: Path, name: str, value: float) -> None:
    changed = ARRAYS[name].copy()
    changed[-1] = value
    _refused(_saved(tmp_path / "state", **{name: changed}), f"in '{name}', expected")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_a_states_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state")
    _refused(tmp_path / "state", "no ordinary file")


def test_long_names_of_tensors_are_shortened(tmp_path: Path) -> None:
    path = _saved(tmp_path / "state", **{"x" * 5000: np.array([np.nan], np.float32)})
    _refused(path, "holds nan in 'xxx")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_what_could_not_be_loaded_is_not_saved_and_the_file_stays(
    tmp_path: Path, value: float
) -> None:
    before = _saved(tmp_path / "state").read_bytes()
    bad = {**ARRAYS, "opt.second_moment": np.array([0, value, 0, 0], np.float32)}
    with pytest.raises(StateError, match=f"not written: the state holds {value:.3g} in 'opt.sec"):
        save_state(tmp_path / "state", bad, HEADER)
    assert (tmp_path / "state").read_bytes() == before
