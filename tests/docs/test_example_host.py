"""The host that the contributor's page adds, as it stands there."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.config import methods
from tests.docs.pages import ROOT
from tests.networks import Plain, with_statistics


@pytest.fixture
def pseudo_label(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example in the package: its file among the hosts, its name in two places."""
    name = "edge_tta.method.hosts.pseudo_label"
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs/contributing/pseudo_label.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, name, module)
    alone = {**methods._BY_BATCH, **methods._SGD}
    monkeypatch.setitem(methods._BASELINES, "pseudo_label", alone)
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, "pseudo_label"))
    monkeypatch.setattr(methods, "HOSTS", (*methods.HOSTS, "pseudo_label"))
    return module


def _sure_network() -> Plain:
    network = with_statistics(Plain())
    assert isinstance(network, Plain)
    with torch.no_grad():
        network.head.weight *= 4
    return network


@pytest.mark.parametrize("method", ["pseudo_label", "nanoadapt:pseudo_label"])
def test_the_example_host_trains_and_its_state_resumes(
    pseudo_label: ModuleType, method: str, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((40, 4, 3, 8, 8), generator=generator).unbind()
    network = _sure_network()
    adapter = Adapter(network, method)
    for image in images[:20]:
        adapter(image)
    assert adapter.drift() > 0
    adapter.save(tmp_path / "state.safetensors")
    resumed = Adapter(network, method)
    resumed.load(tmp_path / "state.safetensors")
    for image in images[20:]:
        assert torch.equal(adapter(image), resumed(image))


def test_the_example_s_loss_is_the_cross_entropy_of_sure_images(pseudo_label: ModuleType) -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    answer = pseudo_label.loss(logits, {})
    assert answer.mask.tolist() == [True, False]
    expected = -math.log(math.exp(4) / (math.exp(4) + 2))
    assert answer.losses.mean().item() == pytest.approx(expected)
