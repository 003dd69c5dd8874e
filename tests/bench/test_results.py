"""Result files and the environment in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import edge_tta
from bench.environment import environment
from bench.results import SCHEMA, make_results, write_results
from edge_tta.errors import OutputError

KEYS = {
    "processor",
    "cores",
    "threads",
    "governor",
    "system",
    "python",
    "torch",
    "numpy",
    "opencv",
    "cuda",
    "edge_tta",
    "commit",
}


def test_the_environment_says_what_was_measured_with() -> None:
    machine = environment()
    assert set(machine) == KEYS
    assert machine["edge_tta"] == edge_tta.__version__
    assert machine["torch"] == torch.__version__
    assert machine["threads"] == torch.get_num_threads()
    assert machine["processor"]
    assert isinstance(machine["cores"], int)
    json.dumps(machine)


def test_outside_a_checkout_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert environment()["commit"] is None


def test_a_result_file_holds_command_environment_methods_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    rows = [{"method": "tent", "error": 0.25}, {"method": "norm", "error": float("nan")}]
    methods = {"tent": {"smoothing": 0.0}}
    write_results(path, make_results("r", ["bench", "error", "--methods", "a b"], rows, methods))
    content = json.loads(path.read_text())
    assert list(content) == ["schema", "command", "environment", "methods", "results"]
    assert content["schema"] == SCHEMA == 1
    assert content["command"] == "edge-tta bench error --methods 'a b'"
    assert content["methods"] == methods
    assert content["results"] == [rows[0], {"method": "norm", "error": None}]
    lines = path.read_text().splitlines()
    assert sum("tent" in line and "0.25" in line for line in lines) == 1  # a line a row


def test_no_rows_are_a_result_too(tmp_path: Path) -> None:
    write_results(tmp_path / "result.json", make_results("r", ["bench"], [], {}))
    assert json.loads((tmp_path / "result.json").read_text())["results"] == []


def test_the_folder_of_outside_data_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_TTA_DATA", f"{tmp_path}/")
    words = ["--data", f"{tmp_path}/data/a b.npz", "--model", f"{tmp_path}2/zoo.py:f"]
    write_results(tmp_path / "result.json", make_results("r", words, [], {}))
    command = json.loads((tmp_path / "result.json").read_text())["command"]
    assert command == f"edge-tta --data $EDGE_TTA_DATA'/data/a b.npz' --model {tmp_path}2/zoo.py:f"


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="existing folder"):
        write_results(tmp_path / "gone" / "result.json", make_results("r", [], [], {}))
