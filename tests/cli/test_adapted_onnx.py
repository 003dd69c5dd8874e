"""The adapted network that the page gives as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.cli import adapted_onnx, run_options
from edge_tta.errors import EdgeTTAError
from edge_tta.models import load_model


def _arguments(state: Path) -> argparse.Namespace:
    words = ["demo", "--model", "demo", "--size", "64", "--mean", "0.53,0.53,0.52"]
    return run_options.parser().parse_args([*words, "--state", str(state)])


def test_it_is_made_of_the_saved_state_and_the_options_of_the_run(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    model = load_model("demo")
    adapter = Adapter(model.module, "norm", input_spec=model.input)
    adapter(torch.randn(1, *model.input.shape))
    adapter.save(state)
    make = adapted_onnx.maker(_arguments(state), bundled=False)
    assert make is not None
    graph = onnx.load_model_from_string(make()).graph
    assert [node.op_type for node in graph.node].count("Conv") == 12


def test_what_went_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    arguments = _arguments(tmp_path / "state.safetensors")
    arguments.task = "nonsense"
    make = adapted_onnx.maker(arguments, bundled=False)
    assert make is not None
    with pytest.raises(EdgeTTAError, match="argument --task: invalid choice") as told:
        make()
    assert "\n" not in str(told.value)


def test_bundles_and_runs_without_a_state_make_none(tmp_path: Path) -> None:
    assert adapted_onnx.maker(_arguments(tmp_path / "s.safetensors"), bundled=True) is None
    arguments = run_options.parser().parse_args(["demo"])
    assert adapted_onnx.maker(arguments, bundled=False) is None
