"""Models by name: the demo and torchvision's, without a download."""

from __future__ import annotations

import re
import urllib.error
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from bench.sets import load_set
from edge_tta.demo.spec import INPUT, LABELS
from edge_tta.errors import ModelError
from edge_tta.models import load_model
from edge_tta.prepare import IMAGENET_MEAN, IMAGENET_STD, InputSpec


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No network and an empty cache; what was asked for nevertheless."""
    addresses: list[str] = []

    def refuse(request: Any, *more: Any, **options: Any) -> NoReturn:
        addresses.append(getattr(request, "full_url", request))
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return addresses


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).eval()


def test_the_demo_network_knows_its_input_and_classes() -> None:
    model = load_model("demo")
    assert (model.name, model.input, model.labels) == ("demo", INPUT, LABELS)
    assert model.module(torch.zeros(1, 3, INPUT.size, INPUT.size)).shape == (1, len(LABELS))
    assert not model.module.training


def test_the_demo_network_takes_other_weights(tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    state = {name: value.clone() for name, value in load_model("demo").module.state_dict().items()}
    state["classifier.bias"] += 1
    save_file(state, file)
    images = torch.randn(2, 3, 64, 64)
    difference = load_model("demo", file).module(images) - load_model("demo").module(images)
    torch.testing.assert_close(difference, torch.ones(2, len(LABELS)))


def test_damaged_demo_weights_are_told(demo_weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(demo_weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="loaded safely"):
        load_model("demo", file)
    torch.save(nn.Linear(2, 2).state_dict(), file.with_suffix(".pt"))
    with pytest.raises(ModelError, match=r"lacks stem\.0\.weight"):
        load_model("demo", file.with_suffix(".pt"))


def test_torchvision_weights_of_a_file_need_no_network(
    resnet18: nn.Module, tmp_path: Path, asked: list[str]
) -> None:
    file = tmp_path / "weights.pth"
    torch.save(resnet18.state_dict(), file)
    model = load_model("torchvision:resnet18", file)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.module(images), resnet18(images))
    assert model.name == "torchvision:resnet18"
    assert model.input == InputSpec(224, 255.0, IMAGENET_MEAN, IMAGENET_STD)
    assert model.labels is not None
    assert (len(model.labels), model.labels[1]) == (1000, "goldfish")
    assert not asked
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_the_number_of_classes_is_that_of_the_weights(
    name: str, ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"weights.{ending}"
    trained = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    state = trained.state_dict()
    save_file(state, file) if ending == "safetensors" else torch.save(state, file)
    model = load_model(f"torchvision:{name}", file)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.module(images), trained(images))
    assert model.labels is None


def test_official_googlenet_weights_compute_what_torchvision_computes(tmp_path: Path) -> None:
    """Its published weights are of another normalisation, which the network itself mends."""
    file = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    options: dict[str, Any] = {"weights": None, "init_weights": False}
    official = torchvision.models.googlenet(transform_input=True, **options).eval()
    images = torch.randn(2, 3, 64, 64)
    _calibrate(official, images)
    save_file(official.state_dict(), file)
    loaded = load_model("torchvision:googlenet", file).module
    assert torch.equal(loaded(images), official(images))


def test_checkpoints_of_torchvision_networks_may_be_wrapped(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    trained = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=7).eval()
    state = {f"model.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, file)
    images = torch.randn(1, 3, 64, 64)
    model = load_model("torchvision:shufflenet_v2_x0_5", file)
    assert torch.equal(model.module(images), trained(images))


def test_published_densenet_weights_have_older_names_and_fit(tmp_path: Path) -> None:
    file = tmp_path / "densenet121-a639ec97.pth"
    trained = torchvision.models.densenet121(weights=None)
    older = re.compile(r"(denselayer\d+\.(?:norm|conv))(\d\.)")
    state = {older.sub(r"\1.\2", name): value for name, value in trained.state_dict().items()}
    assert state.keys() != trained.state_dict().keys()
    torch.save(state, file)
    loaded = load_model("torchvision:densenet121", file).module.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trained.state_dict().items())


def test_weights_of_another_architecture_are_refused(resnet18: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save(resnet18.state_dict(), file)
    with pytest.raises(ModelError, match=r"weights\.pt (lacks|has the unknown|does not fit)"):
        load_model("torchvision:resnet34", file)


@pytest.mark.parametrize("name", ["resnet81", "resnet18x"])
def test_an_unknown_name_is_answered_with_near_ones(name: str) -> None:
    with pytest.raises(ModelError, match=r"did you mean .*resnet18"):
        load_model(f"torchvision:{name}")


@pytest.mark.parametrize("name", ["", "fasterrcnn_resnet50_fpn", "raft_small"])
def test_what_cannot_be_adapted_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="torchvision has no network"):
        load_model(f"torchvision:{name}")


def test_without_network_the_advice_is_to_give_a_file(asked: list[str]) -> None:
    with pytest.raises(ModelError, match=r"cannot be downloaded.*--weights FILE"):
        load_model("torchvision:resnet18")
    (address,) = asked
    assert "resnet18" in address


@pytest.mark.parametrize(
    ("factory", "accuracy"), [("cifar10_resnet20", 0.9173), ("cifar10_resnet8", 0.8719)]
)
def test_an_outside_network_is_as_accurate_as_known(
    factory: str, accuracy: float, outside_data: Path
) -> None:
    """Input size, scale, mean and std all arrive: any of them wrong costs far more than 5 %."""
    model = load_model(f"{outside_data / 'zoo' / 'zoo.py'}:{factory}")
    file = outside_data / "data" / "cifar10_test_first5000.npz"
    data = load_set(file, model.input.size, limit=300)
    with torch.no_grad():
        logits = model.module(torch.from_numpy(model.input.normalise(data.corruptions["clean"])))
    assert float((logits.argmax(1).numpy() == data.labels).mean()) > accuracy - 0.05


def _calibrate(network: nn.Module, images: torch.Tensor) -> None:
    """Running statistics of these images, without which random weights let nothing through."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1.0
    with torch.no_grad():
        network(images)
    network.eval()
