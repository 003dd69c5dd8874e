"""Models of the user's own: FILE.py:FACTORY, and weights files."""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edge_tta.errors import ModelError
from edge_tta.models import load_model, read_weights
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
        ("def make(classes):\n    return classes\n", "make", "TypeError.*without arguments"),
    ],
)
def test_what_is_wrong_with_a_model_file_is_told(
    text: str, factory: str, said: str, write: Write
) -> None:
    path = write(text)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(f"{path}:{factory}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["net", "", "net.pt", "Demo", "net.py"])
def test_what_is_no_model_is_told_with_the_known_forms(spec: str) -> None:
    with pytest.raises(ModelError, match=r"demo, torchvision:NAME or FILE\.py:FACTORY"):
        load_model(spec)


@pytest.mark.parametrize(
    ("wrapper", "ending"),
    [
        *itertools.product(["plain", "module."], ["pt", "safetensors"]),
        *itertools.product(["state_dict", "model", "both"], ["pth"]),
    ],
)
def test_weights_are_found_in_every_usual_wrapping(
    wrapper: str, ending: str, write: Write, tmp_path: Path
) -> None:
    path, file = write(), tmp_path / f"weights.{ending}"
    trained = load_model(f"{path}:small").module
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.normal_()
    state: dict[str, Any] = dict(trained.state_dict())
    if wrapper == "module.":
        state = {f"module.{name}": value for name, value in state.items()}
    if wrapper in ("model", "both"):
        state = {"model": state, "epoch": 3}
    if wrapper in ("state_dict", "both"):
        state = {"state_dict": state, "optimizer": {"lr": 0.1}}
    save_file(state, file) if ending == "safetensors" else torch.save(state, file)
    loaded = load_model(f"{path}:small", file).module
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(loaded(images), trained(images))


def test_only_the_batch_counters_may_be_missing(write: Write, tmp_path: Path) -> None:
    path, file = write(), tmp_path / "weights.pt"
    state = load_model(f"{path}:small").module.state_dict()
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    torch.save(old, file)
    load_model(f"{path}:small", file)
    del old["1.running_var"]
    torch.save(old, file)
    with pytest.raises(ModelError, match=r"lacks 1\.running_var"):
        load_model(f"{path}:small", file)


def test_weights_of_another_network_are_refused(write: Write, tmp_path: Path) -> None:
    path, file = write(), tmp_path / "weights.pt"
    torch.save(load_model(f"{path}:large").module.state_dict(), file)
    with pytest.raises(ModelError, match="does not fit the model: size mismatch for 5"):
        load_model(f"{path}:small", file)
    torch.save(nn.Linear(2, 2).state_dict(), file)
    with pytest.raises(ModelError, match="lacks"):
        load_model(f"{path}:small", file)
    state = load_model(f"{path}:small").module.state_dict() | {"6.weight": torch.zeros(1)}
    torch.save(state, file)
    with pytest.raises(ModelError, match=r"has the unknown 6\.weight"):
        load_model(f"{path}:small", file)


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pt", b"", "loaded safely"),
        ("w.pt", b"garbage", "loaded safely"),
        ("w.safetensors", b"garbage", "loaded safely"),
        ("w.pt", [1, 2], "holds no state dict"),
        ("w.pt", {"epoch": 3}, "holds no state dict"),
        ("w.pt", torch.zeros(3), "holds no state dict"),
    ],
    ids=str,
)
def test_a_file_without_weights_is_told(name: str, content: Any, said: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ModelError, match=said) as caught:
        read_weights(file)
    assert str(file) in str(caught.value)


def test_a_missing_weights_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.pt", tmp_path):
        with pytest.raises(ModelError, match=re.escape(f"no weights file {path}")):
            read_weights(path)
