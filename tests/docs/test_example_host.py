"""The host that the contributor's page adds, as it stands there."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.config import methods
from tests import test_adapter
from tests.docs.pages import ROOT
from tests.method import test_trace
from tests.method.hosts import test_every_host
from tests.networks import Plain, with_statistics


@pytest.fixture
def pseudo_label(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example in the package: its file among the hosts, its name in the table."""
    name = "edge_tta.method.hosts.pseudo_label"
    module = _module(name, "pseudo_label.py")
    monkeypatch.setitem(sys.modules, name, module)
    alone = {**methods._BY_BATCH, **methods._SGD}
    monkeypatch.setitem(methods._TRAINED, "pseudo_label", alone)
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, "pseudo_label"))
    monkeypatch.setattr(methods, "HOSTS", (*methods.HOSTS, "pseudo_label"))
    return module


def _module(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs/contributing" / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sure_network() -> Plain:
    network = with_statistics(Plain())
    assert isinstance(network, Plain)
    with torch.no_grad():
        network.head.weight *= 4
    return network


def _claims(tests: ModuleType, *arguments: str) -> list[Any]:
    """The tests of a module that take these arguments and no more."""
    return [
        pytest.param(test, id=name)
        for name, test in vars(tests).items()
        if name.startswith("test_") and tuple(inspect.signature(test).parameters) == arguments
    ]


CASES = ("pseudo_label", "nanoadapt:pseudo_label/edge", "nanoadapt:pseudo_label/paper")
# In this order: the second lowers the thresholds of hosts that are there.
within = pytest.mark.usefixtures("pseudo_label", "reachable_margins")


@within
@pytest.mark.parametrize("case", CASES[1:2])
@pytest.mark.parametrize("claim", [*_claims(test_adapter, "case"), *_claims(test_trace, "case")])
def test_what_holds_for_every_method_holds_for_the_example(
    claim: Callable[[str], None], case: str
) -> None:
    claim(case)


@within
@pytest.mark.parametrize("net", ["used-twice", "residual"])
@pytest.mark.parametrize("case", CASES)
def test_the_example_learns_where_every_method_is_tested(
    case: str, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_adapter.test_every_method_that_trains_does_move_parameters_here(case, net, monkeypatch)


@within
@pytest.mark.parametrize("claim", _claims(test_every_host, "name"))
def test_what_holds_for_every_host_holds_for_the_example(claim: Callable[[str], None]) -> None:
    claim("pseudo_label")


@within
@pytest.mark.parametrize("preset", ["edge", "paper"])
@pytest.mark.parametrize("claim", _claims(test_every_host, "name", "preset"))
def test_what_holds_for_every_step_of_a_host_holds_for_the_example(
    claim: Callable[[str, str], None], preset: str
) -> None:
    claim("pseudo_label", preset)


@within
@pytest.mark.parametrize("kind", test_every_host.LOGITS)
def test_losses_and_mask_of_the_example_have_their_shapes(kind: str) -> None:
    test_every_host.test_losses_mask_and_memory_have_their_shapes_and_are_finite(
        "pseudo_label", 6, 10, kind
    )


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


@pytest.mark.usefixtures("pseudo_label")
def test_the_example_s_own_test_passes() -> None:
    (claim,) = _claims(_module("test_pseudo_label", "test_pseudo_label.py"))
    claim.values[0]()
