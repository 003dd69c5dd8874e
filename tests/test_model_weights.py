"""Weights files: what people save, and what is refused."""

from __future__ import annotations

import argparse
import os
import pickle
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from edge_tta.errors import ModelError
from edge_tta.models import load_model, read_weights

NET = """
from torch import nn

def small(classes=4):
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, classes),
    )

def large():
    return small(9)

def parallel():
    return nn.DataParallel(small())

class wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, images):
        return self.net(images)
"""

State = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model file."""
    file = tmp_path / "net.py"
    file.write_text(NET)
    return file


@pytest.fixture
def trained(path: Path) -> nn.Module:
    """A network with weights that no other has."""
    network = load_model(f"{path}:small").module
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    return network


def _prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def _other(state: State) -> State:
    return {name: value + 1 for name, value in state.items()}


class EasyDict(dict[str, Any]):
    """A mapping that is none of Python's own, as of settings."""


class Meter:
    """An object of the user's beside the weights."""


# Name: how a state dict is wrapped, and what is said of it ("": nothing).
WRAPPINGS: dict[str, tuple[Callable[[State], Any], str]] = {
    "plain": (lambda s: s, ""),
    "without counters": (lambda s: {k: v for k, v in s.items() if "num_batches" not in k}, ""),
    "DataParallel": (lambda s: _prefixed("module.", s), ""),
    "torch.compile": (lambda s: _prefixed("_orig_mod.", s), ""),
    "DDP and compile": (lambda s: _prefixed("module._orig_mod.", s), ""),
    "a part in DataParallel": (lambda s: {k.replace(".", ".module."): v for k, v in s.items()}, ""),
    "SWA": (lambda s: {"n_averaged": torch.tensor(3), **_prefixed("module.", s)}, ""),
    "thop's counts": (
        lambda s: s | {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)},
        "",
    ),
    "half precision": (lambda s: {k: v.half() if v.ndim else v for k, v in s.items()}, ""),
    "state_dict": (lambda s: {"state_dict": s, "optimizer": {"lr": 0.1}}, "took 'state_dict'"),
    "model": (lambda s: {"model": s, "epoch": 3}, "took 'model'"),
    "two keys deep": (lambda s: {"state_dict": {"model": s}}, "took 'state_dict.model'"),
    "net": (lambda s: {"net": _prefixed("module.", s), "acc": 95.0}, "took 'net'"),
    "model_state_dict": (lambda s: {"model_state_dict": s}, "took 'model_state_dict'"),
    "DeepSpeed": (lambda s: {"module": s, "global_steps": 5}, "took 'module'"),
    "an average beside": (lambda s: {"ema": _other(s), "model": s}, "took 'model', not 'ema'"),
    "an average alone": (lambda s: {"ema": s}, "took 'ema'"),
    "a pair": (lambda s: (s, {"lr": 0.1}), "took '0'"),
    "another network beside": (
        lambda s: {"netG": s, "netD": nn.Linear(2, 2).state_dict()},
        "took 'netG'",
    ),
    "Lightning": (
        lambda s: {
            "state_dict": {**_prefixed("model.", s), "criterion.weight": torch.ones(3)},
            "hyper_parameters": EasyDict(lr=0.1),
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
        },
        "took what begins with 'model.' in 'state_dict', left out criterion.weight",
    ),
    "Lightning with an average": (
        lambda s: {"state_dict": {**_prefixed("model.", s), **_prefixed("ema.", _other(s))}},
        "took what begins with 'model.' in 'state_dict', not what begins with 'ema.'",
    ),
    "NumPy beside": (
        lambda s: {"state_dict": s, "best": np.float64(0.5), "means": np.zeros(3)},
        "took 'state_dict'",
    ),
    "timm": (
        lambda s: {"state_dict": s, "args": argparse.Namespace(lr=0.1, out=Path("runs"))},
        "took 'state_dict'",
    ),
    "objects beside": (
        lambda s: {"model": s, "meter": Meter(), "log": defaultdict(list, loss=[0.1])},
        "took 'model'",
    ),
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_weights_are_found_in_every_usual_wrapping(
    name: str, path: Path, trained: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrap, said = WRAPPINGS[name]
    file = tmp_path / "weights.pt"
    torch.save(wrap(trained.state_dict()), file)
    loaded = load_model(f"{path}:small", file).module.state_dict()
    for key, value in trained.state_dict().items():
        if "num_batches" not in key:
            torch.testing.assert_close(loaded[key], value, rtol=1e-3, atol=1e-3)
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


@pytest.mark.parametrize("factory", ["small", "parallel", "wrapped"])
@pytest.mark.parametrize("saved", ["small", "parallel", "wrapped"])
def test_a_network_takes_its_weights_in_or_out_of_a_wrapper(
    factory: str, saved: str, path: Path, trained: nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    prefix = {"small": "", "parallel": "module.", "wrapped": "net."}[saved]
    torch.save(_prefixed(prefix, trained.state_dict()), file)
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(load_model(f"{path}:{factory}", file).module(images), trained(images))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w"])
def test_safetensors_are_known_by_what_they_hold(
    name: str, path: Path, trained: nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / name
    save_file(trained.state_dict(), file, metadata={"format": "pt"})
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(load_model(f"{path}:small", file).module(images), trained(images))


def test_only_the_batch_counters_may_be_missing(
    path: Path, trained: nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    state = trained.state_dict()
    del state["1.running_var"]
    torch.save(state, file)
    with pytest.raises(ModelError, match=r"lacks 1\.running_var"):
        load_model(f"{path}:small", file)


def _pruned(state: State) -> State:
    layer = prune.l1_unstructured(nn.Conv2d(3, 5, 3), "weight", amount=0.3)
    kept = {k: v for k, v in state.items() if k != "0.weight"}
    return {**kept, **_prefixed("0.", layer.state_dict())}


UNFIT: dict[str, tuple[Callable[[State], Any], str]] = {
    "another layer": (
        lambda s: s | {"6.weight": torch.zeros(1)},
        r"has the unknown 6\.weight; expected the weights of this model",
    ),
    "another network": (
        lambda s: _prefixed("module.", nn.Linear(2, 2).state_dict()),
        r"lacks 0\.weight, 0\.bias, 1\.weight and \d more and has the unknown weight, bias; exp",
    ),
    "a prefix that fits in part": (
        lambda s: {k: v for k, v in _prefixed("body.", s).items() if "5" not in k},
        r"unknown body\.0\.weight, .*; without the prefix 'body\.', 6 of 8 would fit",
    ),
    "a prefix that is missing": (
        lambda s: {k.removeprefix("1."): v for k, v in s.items() if k.startswith("1.")},
        r"with the prefix '1\.', 4 of 8 would fit",
    ),
    "pruned": (_pruned, r"0\.weight_orig.*prune\.remove"),
    "weight_norm": (
        lambda s: {k.replace("0.weight", "0.weight_g"): v for k, v in s.items()},
        "remove_weight_norm",
    ),
    "quantised": (
        lambda s: {k.replace("5.bias", "5.zero_point"): v for k, v in s.items()},
        "of a quantised network",
    ),
    "two that fit alike": (
        lambda s: {"student": s, "teacher": _other(s)},
        "several sets of weights that fit the model: 'student', 'teacher'",
    ),
    "a list": (lambda s: list(s.values()), "holds no state dict but a list"),
    "a whole model": (lambda s: {"best": nn.Flatten()}, r"mapping with best \(Flatten\)"),
    "nothing": (lambda s: {"epoch": 3}, "holds no state dict"),
    "one tensor": (lambda s: torch.zeros(3), "holds no state dict"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_told_with_names_of_both_sides(
    name: str, path: Path, trained: nn.Module, tmp_path: Path
) -> None:
    wrap, said = UNFIT[name]
    file = tmp_path / "weights.pt"
    torch.save(wrap(trained.state_dict()), file)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(f"{path}:small", file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_is_told_with_both(
    path: Path, trained: nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    torch.save(trained.state_dict(), file)
    with pytest.raises(ModelError, match=r"5\.weight \(4, 5\) for \(9, 5\).*number of classes"):
        load_model(f"{path}:large", file)


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class _Command:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo",)


@pytest.mark.parametrize("form", ["torch.save", "torch.save, old", "pickle"])
def test_code_in_a_weights_file_is_never_run(form: str, tmp_path: Path) -> None:
    sprung, file = tmp_path / "sprung", tmp_path / "weights.pt"
    content = {"weight": torch.zeros(2), "more": _Trap(sprung)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "torch.save")
    with pytest.raises(ModelError, match="loaded safely"):
        read_weights(file)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(_Trap(sprung)))
    assert sprung.exists()  # the trap does work


def test_what_a_file_would_run_is_named(tmp_path: Path) -> None:
    for new in (True, False):
        file = tmp_path / f"{new}.pt"
        torch.save({"w": torch.zeros(2), "x": _Command()}, file, _use_new_zipfile_serialization=new)
        with pytest.raises(ModelError, match=r"safely: it would run (posix|nt)\.system"):
            read_weights(file)


class _TellsWhenMade:
    """Notes that it was made, or given its state."""

    made: list[str] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.made.append("made")

    def __setstate__(self, state: object) -> None:
        self.made.append("restored")


def test_classes_beside_the_weights_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"model": {"weight": torch.zeros(2)}, "beside": _TellsWhenMade()}, file)
    _TellsWhenMade.made.clear()
    states = read_weights(file)
    assert list(states) == ["model"]
    assert isinstance(states["model"]["weight"], Tensor)
    assert not _TellsWhenMade.made


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pt", b"", "safely: it is empty"),
        ("w.pt", b"garbage", "loaded safely"),
        ("w.safetensors", b"garbage", "loaded safely"),
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("w.pt", b"<!DOCTYPE html><html></html>", "a web page"),
    ],
    ids=str,
)
def test_a_file_without_weights_is_told(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ModelError, match=said) as caught:
        read_weights(file)
    assert str(file) in str(caught.value)


def test_half_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ModelError, match="cut short or damaged"):
        read_weights(file)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_weights_are_told(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    with pytest.raises(ModelError, match=r"TorchScript; save torch\.jit\.load"):
        read_weights(file)


def test_the_home_folder_may_be_written_short(
    path: Path, trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(load_model("~/net.py:small", "~/w.pt").module(images), trained(images))


def test_an_address_is_no_weights_file() -> None:
    with pytest.raises(ModelError, match="download it first"):
        read_weights("https://download.pytorch.org/models/resnet18-f37072fd.pth")


def test_a_missing_weights_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.pt", tmp_path):
        with pytest.raises(ModelError, match=re.escape(f"no weights file {path}")):
            read_weights(path)
