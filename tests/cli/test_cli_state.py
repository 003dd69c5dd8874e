"""`edge-tta run --state`: resumed exactly, and never overwritten when it is another's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.cli.commands import assert_one_line_of_advice, call, needs_torch, records
from tests.cli.conftest import Folder

FIRST, ALL = 14, 30
"""The update after 16 frames falls into the second part."""


@needs_torch
@pytest.mark.parametrize(
    "words",
    [
        ("--preset", "edge"),
        ("--preset", "paper"),
        ("--preset", "edge", "--views", "2"),
        ("--method", "tent"),
        ("--method", "norm"),
    ],
    ids=" ".join,
)
def test_state_after_resume_equals_uninterrupted_run_to_the_bit(
    words: tuple[str, ...], folder: Folder, tmp_path: Path
) -> None:
    # The guard's own memory is no part of the state: which frames are news it tells anew.
    words = (*words, "--guard", "off")
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    assert call("run", folder(0, ALL), *words, "--state", whole, *_log(tmp_path, "whole")).code == 0
    assert call("run", folder(0, FIRST), *words, "--state", parts).code == 0
    between = load_file(parts)
    resumed = call(
        *("run", folder(FIRST, ALL), *words, "--state", parts, *_log(tmp_path, "second"))
    )
    assert resumed.code == 0
    assert f"resumed {parts} at step {FIRST}" in resumed.err
    _assert_same_tensors(whole, parts)
    state = load_file(parts)
    assert any(not np.array_equal(between[name], state[name]) for name in state)
    told, told_again = (
        [(r["step"], r["why"], r["raw"]) for r in records(log)]
        for log in (tmp_path / "whole.jsonl", tmp_path / "second.jsonl")
    )
    assert told_again == told[FIRST:]


def test_a_state_is_the_same_whether_saved_once_or_after_every_frame(
    folder: Folder, tmp_path: Path
) -> None:
    once, often = tmp_path / "once.safetensors", tmp_path / "often.safetensors"
    pictures = folder(0, 4)
    assert call("run", pictures, "--state", once).code == 0
    assert call("run", pictures, "--state", often, "--save-every", "1e-9").code == 0
    _assert_same_tensors(once, often)


@needs_torch
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--preset", "paper"), "another --state file"),
        (("--method", "norm"), "made with method = 'nanoadapt'"),
        (("--views", "1"), "made with views.count = "),
    ],
    ids=str,
)
def test_a_state_of_other_options_is_refused(
    words: tuple[str, ...], said: str, folder: Folder, tmp_path: Path
) -> None:
    state, pictures = tmp_path / "state.safetensors", folder(0, 2)
    assert call("run", pictures, "--state", state).code == 0
    _assert_refused(tmp_path, state, pictures, *words, said=said)


@needs_torch
def test_a_state_of_another_network_is_refused(folder: Folder, tmp_path: Path) -> None:
    net, pictures, state = tmp_path / "net.py", folder(0, 2), tmp_path / "state.safetensors"
    net.write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    model = ("--model", f"{net}:make", "--size", "8")
    assert call("run", pictures, *model, "--state", state).code == 0
    _assert_refused(tmp_path, state, pictures, said="another network")


@needs_torch
def test_what_a_network_prints_is_no_record_of_a_resumed_run_either(
    folder: Folder, tmp_path: Path
) -> None:
    net, pictures, state = tmp_path / "net.py", folder(0, 2), tmp_path / "state.safetensors"
    net.write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        print('hello')\n"
        "        return super().forward(x)\n"
        "def make():\n"
        "    return Net(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    words = ("run", pictures, "--model", f"{net}:make", "--state", state, "--jsonl", "-")
    for _ in ("first", "resumed"):
        result = call(*words, "--size", "8")
        assert [json.loads(line)["frame"] for line in result.out.splitlines()] == [0, 1]
        assert "hello" in result.err


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "a folder", "weights"])
def test_a_damaged_state_is_refused(
    damage: str, folder: Folder, demo_weights: Path, tmp_path: Path
) -> None:
    state, pictures = tmp_path / "state.safetensors", folder(0, 2)
    if damage == "a folder":
        state.mkdir()
    elif damage == "weights":
        state.write_bytes(demo_weights.read_bytes())
    else:
        # Saved once: a slow machine would have a save before it to go back to.
        assert call("run", pictures, "--state", state, "--save-every", 1e6).code == 0
        data = {"garbage": b"\xff" * 500, "empty": b"", "cut": state.read_bytes()[:-100]}
        state.write_bytes(data[damage])
    said = "add a file name" if damage == "a folder" else "another --state file"
    _assert_refused(tmp_path, state, pictures, said=said)


def _assert_same_tensors(one: Path, other: Path) -> None:
    expected, actual = load_file(one), load_file(other)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert value.tobytes() == actual[name].tobytes(), name


def _assert_refused(where: Path, state: Path, pictures: Path, *words: str, said: str) -> None:
    """Exit code 1; the state file and the folder are as before."""
    before = sorted(where.iterdir())
    content = None if state.is_dir() else state.read_bytes()
    outputs = ("--save", where / "out.mp4", "--plot", where / "out.png", *_log(where, "out"))
    result = call("run", pictures, *words, "--state", state, *outputs)
    assert_one_line_of_advice(result, str(state), said)
    assert sorted(where.iterdir()) == before
    assert content is None or state.read_bytes() == content


def _log(where: Path, name: str) -> tuple[str, Path]:
    return "--jsonl", where / f"{name}.jsonl"
