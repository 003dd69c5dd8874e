"""Shared fixtures. Outside data is found by EDGE_TTA_DATA; tests that need it skip without it.

Without PyTorch, as on a device with the light install, the modules that import it are skipped.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest

if TYPE_CHECKING:
    from edge_tta.config import LossConfig
    from edge_tta.method.hosts import Host

cv2.setNumThreads(1)
if find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)

SURER = 50
_MISSING = [name for name in ("torch", "onnx", "matplotlib") if find_spec(name) is None]
_WHY = "Skipped: needs more than the light install"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[Any]:
    """Skips a test module that imports what the light install has not, where it is not there.

    That what runs without PyTorch does not import it, import contracts and the wheel's test say.
    """
    report = yield
    if report.outcome == "failed" and any(f"named '{m}'" in str(report.longrepr) for m in _MISSING):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, _WHY)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Skips a test that imports it itself."""
    report = yield
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, ModuleNotFoundError) and error.name in _MISSING:
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, _WHY)
    return report


@pytest.fixture(scope="session")
def outside_data() -> Path:
    """The folder that EDGE_TTA_DATA names, with zoo/ and data/ in it."""
    folder = os.environ.get("EDGE_TTA_DATA", "")
    if not folder:
        pytest.skip("EDGE_TTA_DATA is not set: no outside networks and images to test on")
    if not (Path(folder) / "zoo").is_dir() or not (Path(folder) / "data").is_dir():
        pytest.skip(f"EDGE_TTA_DATA={folder} holds no zoo/ and data/ folders")
    return Path(folder)


@pytest.fixture(scope="session")
def demo_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo network's weights, as a user's file."""
    from safetensors.torch import save_file

    from edge_tta.demo.network import road_signs

    path = tmp_path_factory.mktemp("demo") / "weights.safetensors"
    save_file(road_signs().state_dict(), path)
    return path


def _surer(make: Callable[[LossConfig], Host], table: LossConfig) -> Host:
    """The host, given surer logits if it filters."""
    host = make(table)
    if not host.filters:
        return host
    assert host.second_pass is None, "a second pass needs its margins lowered in reachable_margins"
    return dataclasses.replace(host, loss=lambda logits, state: host.loss(SURER * logits, state))


@pytest.fixture
def reachable_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters that the small networks, which are unsure, pass now and then.

    With the published margins of eata and sar all their images would be left out, and sar would
    never recover. Every other host that filters is given logits that are `SURER` times as large.
    """
    from edge_tta.config import methods
    from edge_tta.method.hosts import eata, sar

    for name in methods.HOSTS:
        module = import_module(f"edge_tta.method.hosts.{name}") if name != "norm" else None
        if module not in (None, eata, sar):
            monkeypatch.setattr(module, "make", functools.partial(_surer, module.make))
    for host in (eata, sar):
        monkeypatch.setattr(host, "ENTROPY_MARGIN", 0.98)
    monkeypatch.setattr(eata, "similarity_margin", lambda classes: 0.995)
    monkeypatch.setattr(sar, "RECOVERY_BELOW_NATS", 1.2)
