"""Folded networks and frozen parts as ONNX compute what the network computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge_tta.adapter import Adapter
from edge_tta.demo.network import road_signs
from edge_tta.models import load_model
from edge_tta.prepare import Channels, InputSpec
from export.folded import write_folded
from export.frozen import write_parts
from export.graph.trace import plain_step
from tests.adapters import adapter, stream
from tests.bundle.bundles import SPEC
from tests.cli.commands import call
from tests.networks import NETWORKS


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("net", ["residual", "concatenating"])
def test_a_folded_graph_predicts_what_the_adapted_network_does(net: str, tmp_path: Path) -> None:
    adapted = adapter("nanoadapt:tent/edge", net)
    images = stream(9, n=1)
    source = adapted.predict(images[0]).numpy()
    for image in images:
        adapted(image)
    assert write_folded(adapted, SPEC, tmp_path / "f.onnx") < 1e-4
    (found,) = _session(tmp_path / "f.onnx").run(None, {"images": images[0].numpy()})
    wanted = adapted.predict(images[0]).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    assert np.abs(found - source).max() > 1e-2


def test_a_folded_file_tells_its_classes_and_how_pixels_are_normalised(tmp_path: Path) -> None:
    spec = InputSpec(8, 1.0, (10.0, 20.0, 30.0), (2.0, 3.0, 4.0), Channels.BGR)
    adapted = adapter("nanoadapt:tent/edge", "residual")
    names = tuple(f"class, {number}" for number in range(adapted.prepare((3, 8, 8))))
    write_folded(adapted, spec, tmp_path / "f.onnx", names)
    model = load_model(str(tmp_path / "f.onnx"))
    assert model.labels == names
    assert model.input == spec
    write_folded(adapted, SPEC, tmp_path / "f.onnx")
    assert load_model(str(tmp_path / "f.onnx")).labels is None


@pytest.mark.parametrize("net", NETWORKS)
def test_frozen_parts_with_batch_norm_between_are_the_network(net: str, tmp_path: Path) -> None:
    source = adapter("source", net)
    program = plain_step(source, (3, 8, 8)).program
    count = write_parts(program, (3, 8, 8), tmp_path)
    assert count == len(program.sites) + 1
    index = json.loads((tmp_path / "parts.json").read_text())
    image = stream(1, n=1)[0].numpy()
    values = {"images": image}
    by_name = {layer.name: layer for layer in program.layers}
    for part in index["parts"]:
        found = _session(tmp_path / part["file"]).run(
            part["outputs"], {name: values[name] for name in part["inputs"]}
        )
        values |= dict(zip(part["outputs"], found, strict=True))
        first = part["outputs"][0]
        if first.startswith("z_"):
            layer, z = by_name[index["batch_norms"][first]], values[first]
            column = (-1, *(1 for _ in z.shape[2:]))
            y = (z - layer.mean.numpy().reshape(column)) / np.sqrt(
                layer.variance.numpy().reshape(column) + layer.eps
            )
            if layer.weight is not None and layer.bias is not None:
                weight, bias = (program.parameters[n].numpy() for n in (layer.weight, layer.bias))
                y = y * weight.reshape(column) + bias.reshape(column)
            values["y" + first[1:]] = y.astype(np.float32)
    wanted = source(image).numpy()
    np.testing.assert_allclose(values["logits"].reshape(wanted.shape), wanted, rtol=1e-3, atol=1e-4)


def test_the_command_line_exports_folded_graphs_and_frozen_parts(tmp_path: Path) -> None:
    state = tmp_path / "s.safetensors"
    adapted = Adapter(road_signs())
    adapted(np.zeros((1, 3, 64, 64), np.float32))
    adapted.save(state)
    folded = tmp_path / "f.onnx"
    result = call("export", "folded", "--model", "demo", "--state", state, "--out", folded)
    assert result.code == 0, result.err
    assert folded.is_file()
    result = call("export", "frozen", "--model", "demo", "--out", tmp_path / "parts")
    assert (result.code, result.out.count("13 parts")) == (0, 1)
    result = call("export", "frozen", "--model", "demo", "--out", tmp_path / "parts")
    assert (result.code, "exists already" in result.err) == (1, True)
    bad = call("export", "folded", "--model", "demo", "--state", state, "--out", tmp_path / "f.txt")
    assert (bad.code, "must end in .safetensors or .onnx" in bad.err) == (1, True)
