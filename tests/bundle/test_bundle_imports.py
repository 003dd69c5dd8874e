"""A device needs neither PyTorch nor onnx."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_tta.bundle.folder import Bundle
from edge_tta.cli.loading import DEMO_BUNDLE
from edge_tta.demo.network import road_signs
from edge_tta.network.capture import fingerprint_of
from tests.cli.commands import ROOT, call, records

_RUN = """
import sys, json
from importlib.machinery import PathFinder
class Lacking:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "onnx", "onnxscript"):
            return None
        return PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Lacking
import edge_tta
from edge_tta.cli.main import main
code = main(sys.argv[1:])
json.dump({"code": code, "modules": sorted(n for n in sys.modules if "." not in n)}, sys.stdout)
"""


def _without_torch(*words: object) -> tuple[dict[str, object], str]:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *(str(word) for word in words)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_a_run_of_a_bundle_imports_neither_torch_nor_onnx(tmp_path: Path) -> None:
    log, state = tmp_path / "log.jsonl", tmp_path / "state.safetensors"
    words = ("run", "demo", "--max-frames", 20, "--compare", "source,norm", "--jsonl", log)
    pytest.importorskip("bottle", reason="the page needs bottle: pip install 'edge-tta[serve]'")
    found, said = _without_torch(*words, "--state", state, "--serve", 0)
    assert found["code"] == 0
    assert "watch at http" in said
    modules = found["modules"]
    assert isinstance(modules, list)
    assert "onnxruntime" in modules
    assert not {"torch", "torchvision", "onnx", "onnxscript"} & set(modules)
    assert len(records(log)) == 20
    assert not records(log)[-1]["guard"]["fell_back"]
    assert state.is_file()


@pytest.mark.parametrize(
    "words",
    [
        ("run", "demo", "--model", "torchvision:resnet18"),
        ("export", "bundle", "--model", "demo", "--out", "x"),
        ("bench", "error", "--model", "demo", "--data", "x"),
    ],
)
def test_what_needs_torch_says_so_in_one_line(words: tuple[str, ...]) -> None:
    found, err = _without_torch(*words)
    assert found["code"] == 1
    assert "pip install 'edge-tta[torch]'" in err
    assert err.count("\n") == 1


def test_corruptions_need_no_torch() -> None:
    found, _ = _without_torch("corrupt", "--help")
    assert found["code"] == 0


def test_the_demo_network_is_that_of_the_packaged_bundle() -> None:
    assert fingerprint_of(road_signs()) == Bundle(DEMO_BUNDLE).fingerprint


def test_the_packaged_bundle_predicts_what_the_demo_network_predicts(tmp_path: Path) -> None:
    logs = {}
    for backend in ("torch", "onnx"):
        log = tmp_path / f"{backend}.jsonl"
        words = ("run", "demo", "--backend", backend, "--max-frames", 60, "--jsonl", log)
        assert call(*words).code == 0
        logs[backend] = records(log)
    for one, other in zip(logs["torch"], logs["onnx"], strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-3)
    same = [a["prediction"] == b["prediction"] for a, b in zip(*logs.values(), strict=True)]
    assert sum(same) >= 59
