"""Bundles of networks that are no classifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.models import Model
from edge_tta.prepare import InputSpec
from edge_tta.tasks import task_named
from export.bundle import export_bundle
from export.parity import STEP_TOLERANCE
from tests.test_adapter_tasks import ANSWERS, SIZE, _network

SPEC = InputSpec(size=SIZE[1:])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bundle_computes_what_pytorch_computes_and_returns_its_form(
    name: str, tmp_path: Path
) -> None:
    network, task = _network(name), ANSWERS[name][0]
    method = "nanoadapt:tent" if name == "segment" else "nanoadapt"
    adapter = Adapter(network, method, input_spec=SPEC, task=task)
    done = export_bundle(Model(name, network, SPEC), [adapter], "edge", tmp_path / "b")
    (parity, *_) = done.parity.values()
    assert max(parity.logits, parity.state) <= STEP_TOLERANCE
    assert (tmp_path / "b" / "learn.onnx").is_file() == (method == "nanoadapt:tent")
    # Where no layer reads the frame to normalise it, the folded network observes.
    assert (tmp_path / "b" / "measuring.onnx").is_file() == (name in ("detect", "features"))
    bundle = Adapter(tmp_path / "b")
    image = np.random.default_rng(0).normal(size=(1, *SIZE)).astype(np.float32)
    outputs = bundle(image)
    assert nest.form_of(outputs) == nest.form_of(adapter(image))
    assert bundle.task is not None
    assert bundle.task.name == name.split()[0]


def test_the_task_of_a_bundle_may_be_told_where_it_runs(tmp_path: Path) -> None:
    network = _network("features")
    adapter = Adapter(network, input_spec=SPEC)
    export_bundle(Model("m", network, SPEC), [adapter], "edge", tmp_path / "b")
    task = task_named("detect", lambda outputs: [(np.zeros((0, 4)), np.zeros(0), np.zeros(0))])
    engine = OnnxEngine(Bundle(tmp_path / "b", task=task))
    assert engine.task is task
    assert Adapter(tmp_path / "b").task is not task
