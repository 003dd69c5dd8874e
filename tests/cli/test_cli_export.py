"""`edge-tta export`: what it writes, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.cli.commands import assert_one_line_of_advice, call, needs_torch
from tests.cli.conftest import Folder


@pytest.fixture
def state(folder: Folder, tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    # The guard would see at once what norm does to single frames, and save the source.
    words = ("--method", "norm", "--guard", "off", "--state", path)
    assert call("run", folder(0, 3), *words).code == 0
    return path


def test_folded_weights_run_and_a_delta_is_a_part_of_them(
    state: Path, folder: Folder, demo_weights: Path, tmp_path: Path
) -> None:
    folded, delta = tmp_path / "folded.safetensors", tmp_path / "delta.safetensors"
    for kind, out in (("folded", folded), ("delta", delta)):
        result = call("export", kind, "--model", "demo", "--state", state, "--out", out)
        assert result.code == 0
        assert result.out.startswith(f"{out}: ")
    whole, part, source = load_file(folded), load_file(delta), load_file(demo_weights)
    assert set(source) - set(whole) == set()
    changed = {name for name in source if (source[name] != whole[name]).any()}
    assert set(part) == changed != set()
    assert call("run", folder(3, 4), "--weights", folded, "--method", "source").code == 0


@pytest.mark.parametrize("over", ["state", "weights"])
def test_what_is_read_is_not_written_over(
    over: str, state: Path, demo_weights: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(demo_weights.read_bytes())
    out = state if over == "state" else weights
    before = out.read_bytes()
    words = ("--model", "demo", "--weights", weights, "--state", state, "--out", out)
    assert_one_line_of_advice(call("export", "folded", *words), str(out), "another name")
    assert out.read_bytes() == before


@needs_torch
@pytest.mark.parametrize(
    ("name", "said"),
    [("gone/x.safetensors", "make it first"), ("folder.safetensors", "it is a folder")],
)
def test_a_place_that_does_not_do_is_told(
    name: str, said: str, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    words = ("--model", "demo", "--state", state, "--out", tmp_path / name)
    assert_one_line_of_advice(call("export", "delta", *words), name, said)
