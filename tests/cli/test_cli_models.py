"""`--model` and `--weights` on the command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_tta.models import load_model
from tests.cli.commands import assert_one_line_of_advice, call


def test_a_folder_called_demo_does_not_hide_the_demo_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    result = call("run", "demo", "--max-frames", 1, "--method", "source")
    assert result.code == 0, result.err
    given = call("run", "demo", "--model", "demo", "--max-frames", 1, "--method", "source")
    assert given.code == 0, given.err
    folder = call("run", "demo", "--model", "./demo", "--max-frames", 1)
    assert_one_line_of_advice(folder, "manifest.json", "no bundle")


def test_a_folder_that_is_not_there_is_told_with_and_without_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = call("run", "demo", "--model", "bundle/")
    assert_one_line_of_advice(missing, "there is no bundle/", "a bundle's folder")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing = call("run", "demo", "--model", "bundle/")
    assert_one_line_of_advice(missing, "there is no bundle bundle/", "export bundle")
    module = call("run", "demo", "--model", "net.py:network")
    assert_one_line_of_advice(module, "needs PyTorch", "pip install")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.onnx", ("no graph", "whole network")),
        ("net.pt", ("weights file", "FILE.py:FACTORY", "--weights net.pt")),
    ],
)
def test_a_file_that_is_no_model_is_told_what_goes_with_it(
    name: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert_one_line_of_advice(call("run", "demo", "--model", name), *words)


def test_which_weights_of_a_checkpoint_were_taken_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "checkpoint.pt"
    state = load_model("demo").module.state_dict()
    torch.save({"model": state, "best": np.float64(0.5)}, file)
    result = call(
        *("run", "demo", "--model", "demo", "--weights", file),
        *("--max-frames", 1, "--method", "source"),
    )
    assert result.code == 0, result.err
    assert caplog.text.count("took 'model'") == 1
