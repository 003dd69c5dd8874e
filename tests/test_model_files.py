"""Models of the user's own: FILE.py:FACTORY."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edge_tta.errors import ModelError
from edge_tta.models import load_model
from edge_tta.prepare import IMAGENET_MEAN, IMAGENET_STD, InputSpec

NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes=4):
        super().__init__(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, classes),
        )

def small():
    return Net().train()

def large():
    return Net(9)

def frozen():  # statistics in scale and shift
    net = Net()
    net[1].weight.data.fill_(0.7)
    return net
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a model file; returns its path."""

    def write(text: str = NET, name: str = "net.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_factory_gives_its_network_in_evaluation_mode(write: Write) -> None:
    path = write()
    model = load_model(f"{path}:small")
    assert model.name == f"{path}:small"
    assert not any(module.training for module in model.module.modules())
    assert model.module(torch.zeros(2, 3, 8, 8)).shape == (2, 4)
    assert model.input == InputSpec(224, 255.0, IMAGENET_MEAN, IMAGENET_STD)
    assert model.labels is None
    assert load_model(f"{path}:large").module(torch.zeros(1, 3, 8, 8)).shape == (1, 9)
    assert load_model(f"{path}:Net").module(torch.zeros(1, 3, 8, 8)).shape == (1, 4)


def test_a_network_that_was_never_trained_is_told(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write()
    module = load_model(f"{path}:small").module
    assert "small looks untrained" in caplog.text
    assert "--weights FILE" in caplog.text
    caplog.clear()
    load_model(f"{path}:frozen")
    assert "untrained" not in caplog.text
    module[1].running_mean += 0.1  # type: ignore[index, operator]
    torch.save(module.state_dict(), tmp_path / "net.pt")
    load_model(f"{path}:small", tmp_path / "net.pt")
    assert "untrained" not in caplog.text


def test_input_for_all_factories_is_taken(write: Write) -> None:
    path = write(NET + "INPUT = {'size': 32, 'scale': 1, 'mean': 127.5, 'std': (1.0, 2.0, 3.0)}")
    expected = InputSpec(32, 1, (127.5,) * 3, (1.0, 2.0, 3.0))
    assert load_model(f"{path}:small").input == expected
    assert load_model(f"{path}:large").input == expected


def test_input_by_factory_is_that_of_the_factory(write: Write) -> None:
    path = write(NET + "INPUT = {'small': {'size': 32}, 'large': {'size': 64, 'mean': [0, 0, 0]}}")
    assert load_model(f"{path}:small").input == InputSpec(size=32)
    assert load_model(f"{path}:large").input == InputSpec(size=64, mean=(0.0, 0.0, 0.0))
    assert load_model(f"{path}:Net").input == InputSpec()


def test_input_may_hold_more_than_is_needed(write: Write) -> None:
    path = write(NET + "INPUT = {'size': 32, 'classes': ['a', 'b', 'c', 'd']}")
    assert load_model(f"{path}:small").input == InputSpec(size=32)


def test_labels_are_taken_for_all_factories_or_by_factory(write: Write) -> None:
    path = write(NET + "LABELS = ['a', 'b', 'c', 4]", "one.py")
    assert load_model(f"{path}:small").labels == ("a", "b", "c", "4")
    path = write(NET + "LABELS = {'large': [*'abcdefghi'], 'other': ('x', 'y')}", "two.py")
    assert load_model(f"{path}:large").labels == tuple("abcdefghi")
    assert load_model(f"{path}:small").labels is None


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("32", "must be a mapping"),
        ("{'size': 0}", "from 1 to 8192"),
        ("{'size': 'big'}", "from 1 to 8192"),
        ("{'scale': -1}", "above 0"),
        ("{'std': 0}", "above 0"),
        ("{'mean': [1, 2]}", "1 or 3 values"),
        ("{'mean': 'red'}", "INPUT"),
        ("{'small': 3, 'large': {}}", "must be a mapping"),
    ],
)
def test_an_input_that_makes_no_sense_is_told(entry: str, said: str, write: Write) -> None:
    path = write(NET + f"INPUT = {entry}")
    with pytest.raises(ModelError, match=said) as caught:
        load_model(f"{path}:small")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("labels", ["4", "'abcd'", "{0: 'a', 1: 'b', 2: 'c', 3: 'd'}"])
def test_labels_that_are_no_sequence_are_told(labels: str, write: Write) -> None:
    path = write(NET + f"LABELS = {labels}")
    with pytest.raises(ModelError, match="LABELS"):
        load_model(f"{path}:small")


def test_a_file_may_import_its_neighbours(write: Write) -> None:
    write(NET, "neighbour_of_one.py")
    path = write("from neighbour_of_one import small")
    assert load_model(f"{path}:small").module(torch.zeros(1, 3, 8, 8)).shape == (1, 4)


def test_a_factory_may_import_its_neighbours_when_called(write: Write) -> None:
    write(NET, "neighbour_of_another.py")
    path = write("def make():\n    from neighbour_of_another import small\n    return small()\n")
    assert load_model(f"{path}:make").module(torch.zeros(1, 3, 8, 8)).shape == (1, 4)


def test_relative_imports_work_inside_a_package_and_beside_a_file(write: Write) -> None:
    write(NET, "beside.py")
    path = write("from .beside import small")
    assert load_model(f"{path}:small").module(torch.zeros(1, 3, 8, 8)).shape == (1, 4)
    inner = path.parent / "nets" / "own"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
    (inner.parent / "layers.py").write_text(NET)
    path = write("from ..layers import large\n", "nets/own/my-net.py")
    assert load_model(f"{path}:large").module(torch.zeros(1, 3, 8, 8)).shape == (1, 9)


def test_a_model_file_sees_no_arguments_and_keeps_standard_output_free(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parsing = "import argparse\nargparse.ArgumentParser().parse_args()\nprint('a net')\n"
    monkeypatch.setattr("sys.argv", ["edge-tta", "run", "demo"])
    path = write(parsing + NET)
    assert load_model(f"{path}:small").module(torch.zeros(1, 3, 8, 8)).shape == (1, 4)
    assert sys.argv == ["edge-tta", "run", "demo"]
    assert capsys.readouterr() == ("", "a net\n")


def test_a_network_may_stand_in_the_file_itself(write: Write) -> None:
    path = write(NET + "model = Net(6)\n")
    assert load_model(f"{path}:model").module(torch.zeros(1, 3, 8, 8)).shape == (1, 6)


@pytest.mark.parametrize(
    ("text", "factory", "said"),
    [
        ("def make(:\n", "make", "cannot be imported: SyntaxError"),
        ("import not_installed_anywhere\n", "make", "cannot be imported: ModuleNotFoundError"),
        ("raise RuntimeError('two\\nlines')\n", "make", "RuntimeError: two lines"),
        ("raise SystemExit('no')\n", "make", "cannot be imported: SystemExit"),
        (NET, "smal", "no function 'smal'; did you mean small"),
        (NET, "nothing_like_it", "no function 'nothing_like_it'$"),
        (NET, "", "no function ''"),
        ("make = 3\n", "make", "no function 'make'"),
        ("def make():\n    return {'weights': 1}\n", "make", "returns a dict; expected an nn.Mod"),
        ("def make():\n    raise KeyError('gone')\n", "make", "fails with KeyError: 'gone'"),
        ("def make(classes):\n    return classes\n", "make", r"\(classes\); .*return make\("),
        ("def make():\n    return Net\n" + NET, "make", r"return Net\(\), not Net"),
        ("def make():\n    return Net(), 3\n" + NET, "make", "a tuple of Net, int.*that alone"),
        ("from .gone import small\n", "small", "No module named"),
    ],
)
def test_what_is_wrong_with_a_model_file_is_told(
    text: str, factory: str, said: str, write: Write
) -> None:
    path = write(text)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(f"{path}:{factory}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("net", "or a bundle's folder"),
        ("", "or a bundle's folder"),
        ("resnet18", "did you mean torchvision:resnet18"),
        ("net.pt", "a weights file.* --weights net.pt"),
        ("net.safetensors", "a weights file.* --weights net.safetensors"),
        ("net.py", "a Python file without a factory"),
        ("/", "a folder, maybe a bundle"),
    ],
)
def test_what_is_no_model_is_told_with_what_would_do(spec: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        load_model(spec)
    assert "demo, torchvision:NAME, FILE.py:FACTORY or FILE.onnx" in str(caught.value)


def test_a_python_file_without_a_factory_is_answered_with_its_functions(write: Write) -> None:
    path = write()
    with pytest.raises(ModelError, match=r"such as .*net\.py:small, .*net\.py:large"):
        load_model(str(path))
