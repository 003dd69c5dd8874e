"""Folded graphs in int8, against the same in float32 and against sums of codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, load, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.adapter import Adapter
from edge_tta.background import Background
from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.folding import Kind, variable_tag, variable_weight
from edge_tta.bundle.int8 import DEVIATION
from edge_tta.cli.main import main
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import BundleError, ConfigError
from edge_tta.models import Model
from export.bundle import Exported, export_bundle
from export.graph.int8 import int8_graph, ranges_of
from export.graph.weights import WeightFile
from tests.adapters import stream
from tests.bundle.bundles import SPEC
from tests.export.test_in_place import _Odd
from tests.networks import network, with_statistics

Array = npt.NDArray[Any]
FRAMES = [batch.numpy() for batch in stream(24, n=1)]
NETWORKS = (
    *("residual", "pre-activation", "concatenating", "branching", "used-twice", "one-dimensional"),
    *("odd", "sums", "clipped"),
)


class _Sums(nn.Module):
    """Sums that an operator without codes reads, and convolutions of ones that are none of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.ones = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.bn3 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x))
        x = functional.silu(x + self.bn2(self.conv2(functional.relu(x))))
        y = self.bn3(self.ones(x))
        logits: Tensor = self.head((x + y).mean((2, 3)))
        return logits


class _Clipped(nn.Module):
    """ReLU6 behind convolutions; a channel that is always 0, and a layer of a dead one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, 2, padding=1, groups=8), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self.bn1(self.conv1(x)))
        x = functional.relu6(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def _module(name: str) -> nn.Module:
    own = {"odd": _Odd, "sums": _Sums, "clipped": _Clipped}
    if name not in own:
        return network(name)
    torch.manual_seed(0)
    module = with_statistics(own[name]())
    with torch.no_grad():
        if isinstance(module, _Sums):
            module.ones.weight.fill_(1)
        if isinstance(module, _Clipped):
            module.conv1.weight[0].zero_()
            module.conv3.weight[3].zero_()
    return module


def _exported(folder: Path, name: str, method: str = "nanoadapt:norm") -> Exported:
    module = _module(name)
    like = Adapter(module, method, input_spec=SPEC)
    adapters = [like, like.with_method("source")]
    return export_bundle(Model(name, module, SPEC), adapters, "edge", folder, int8=FRAMES)


def _pair(folder: Path, method: str = "nanoadapt:norm") -> list[Adapter]:
    """The bundle in int8, and in float32."""
    bundle = Bundle(folder)
    return [Adapter(OnnxEngine(bundle, method, int8=int8)) for int8 in (True, False)]


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_is_float32_to_a_few_percent(tmp_path: Path, name: str) -> None:
    done = _exported(tmp_path / "b", name)
    assert set(done.int8) == {"nanoadapt:norm", "source"}
    for label, close in done.int8.items():
        assert close.frames == len(FRAMES), label
        assert 0 < close.outputs < 0.1, label
        assert close.same is not None
        assert close.same > 0.8, label
    adapters = _pair(tmp_path / "b")
    for frame in FRAMES:
        for own in adapters:
            own(frame)
    for key in ("calib.recent_offset", "calib.lasting_offset", "calib.recent_variance"):
        int8, wanted = (own.state[key] for own in adapters)
        assert not np.array_equal(int8, wanted)  # else it was not in int8 at all
        assert np.abs(int8 - wanted).mean() < 0.03 * max(1.0, np.abs(wanted).mean()), key


def _one(kind: Kind, scale_too: bool) -> tuple[ModelProto, Array]:
    """A graph of one variable convolution with a ReLU behind a `bias`, and its weight."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    name = variable_weight(0, kind)
    constants = {name: weight, "tag": variable_tag(0, kind, 4)}
    nodes = [helper.make_node("Conv", ["images", *constants], ["z"], pads=[1] * 4, group=1)]
    if scale_too:
        nodes.append(helper.make_node("Relu", ["z"], ["y"]))
    nodes.append(helper.make_node("Identity", [nodes[-1].output[0]], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9), weight


VECTORS = {
    "scale": np.array([1.5, -0.7, 0.0, 2.0], np.float32),
    "bias": np.array([0.3, 0.9, 0.8, -0.2], np.float32),
    "shift": np.zeros(4, np.float32),
    "centre": np.array([0.1, -0.4, 0.0, 0.6], np.float32),
    DEVIATION: np.array([1.0, 2.0, 0.5, 3.0], np.float32),
}
IMAGES = [np.random.default_rng(k).normal(size=(1, 3, 6, 6)).astype(np.float32) for k in range(3)]


def _run(graph: ModelProto, images: Array, vectors: dict[str, Array] = VECTORS) -> Array:
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = {i.name: vectors[i.name] for i in session.get_inputs() if i.name != "images"}
    answer: Array = session.run(None, {"images": images, **given})[0]
    return answer


def _codes(x: Array, low: float, high: float) -> tuple[Array, float, int]:
    step = (high - low) / 255
    zero = round(-low / step)
    return np.clip(np.rint(x / step) + zero, 0, 255), step, zero


def _convolved(a: Array, weight: Array) -> Array:
    """A 3 x 3 convolution with a border of zeros, one sum at a time."""
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((1, len(weight), 6, 6))
    for k, row, column in np.ndindex(len(weight), 6, 6):
        out[0, k, row, column] = (
            padded[0, :, row : row + 3, column : column + 3] * weight[k]
        ).sum()
    return out


def _summed(weight: Array, images: Array) -> tuple[Array, Array]:
    """Sums of codes, and what one is worth in each channel, (1, 4, 1, 1)."""
    low, high = (f(0.0, *(float(f(i.ravel())) for i in IMAGES)) for f in (min, max))
    q, step, zero = _codes(images, low, high)
    weight_step = np.abs(weight.reshape(4, -1)).max(1) / 127
    codes = np.rint(weight / weight_step[:, None, None, None])
    return _convolved(q - zero, codes), (weight_step * step).reshape(1, 4, 1, 1)


def test_a_folded_convolution_is_sums_of_codes_requantised() -> None:
    graph, weight = _one("bias", scale_too=True)
    ranges = ranges_of(graph, VECTORS, IMAGES)
    made = int8_graph(graph, ranges, WeightFile(None))
    scale, bias = (VECTORS[name].reshape(1, 4, 1, 1) for name in ("scale", "bias"))
    top = ranges["y"][1]
    assert ranges["y"][0] == 0
    for images in IMAGES:
        sums, worth = _summed(weight, images)
        expected, step, zero = _codes(np.maximum(sums * worth * scale + bias, 0), 0.0, top)
        assert zero == 0
        answer = _run(made, images) / step
        # A bias is a whole number of steps, and halves may be rounded either way.
        np.testing.assert_allclose(answer, expected, atol=1.01)
        assert np.abs(answer - expected).mean() < 0.05
        # A channel that is multiplied with nothing is its bias.
        np.testing.assert_allclose(answer[0, 2] * step, 0.8, rtol=0.08)


def test_what_is_measured_has_codes_of_its_own_deviation() -> None:
    graph, weight = _one("centre", scale_too=False)
    made = int8_graph(graph, ranges_of(graph, VECTORS, IMAGES), WeightFile(None))
    unit = (VECTORS[DEVIATION] * 12 / 127).reshape(1, 4, 1, 1)
    centre = VECTORS["centre"].reshape(1, 4, 1, 1)
    for images in IMAGES:
        sums, worth = _summed(weight, images)
        codes = np.clip(np.rint((sums * worth + centre) / unit), -128, 127)
        answer = _run(made, images)
        np.testing.assert_allclose(answer, codes, atol=1.01)
        assert np.abs(answer - codes).mean() < 0.05
    exact, gaps = _convolved(IMAGES[0], weight) + centre, []
    for times in (4, 16):
        vectors: dict[str, Array] = {**VECTORS, DEVIATION: times * VECTORS[DEVIATION]}
        u = _run(made, IMAGES[0], vectors) * times * unit
        gaps.append(np.abs(u - exact).mean())
    assert gaps[0] < gaps[1]


def test_other_vectors_are_another_state_and_no_other_weight(tmp_path: Path) -> None:
    _exported(tmp_path / "b", "residual")
    int8, wanted = _pair(tmp_path / "b")
    for frame in FRAMES[:8]:
        wanted(frame)
    first = int8.predict(FRAMES[0])
    int8.restore(wanted.state)
    there = int8.predict(FRAMES[0])
    assert np.abs(there - wanted.predict(FRAMES[0])).max() < 0.2 * np.abs(there).max()
    assert not np.array_equal(there, first)
    np.testing.assert_array_equal(int8.predict_source(FRAMES[0]), first)
    folded = int8.engine._folded  # type: ignore[attr-defined]
    assert sorted(folded._int8) == ["folded.onnx", "measuring.onnx"]  # one for all states


def test_a_variance_of_zero_comes_back(tmp_path: Path) -> None:
    """As of a camera that was covered for thousands of frames."""
    _exported(tmp_path / "b", "residual")
    int8, wanted = _pair(tmp_path / "b")
    for own in (int8, wanted):
        own.prepare((3, 8, 8))
        own.restore({**own.state, "calib.recent_variance": 0 * own.state["calib.recent_variance"]})
        for frame in FRAMES[:12]:
            own(frame)
    there = int8.state["calib.recent_variance"]
    assert (there > 0.1 * wanted.state["calib.recent_variance"]).mean() > 0.7


def _assert_near(values: Array, expected: Array) -> None:
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


def test_float32_stays_so_beside_and_in_copies(tmp_path: Path) -> None:
    _exported(tmp_path / "b", "residual")
    pair = _pair(tmp_path / "b")
    assert np.abs(pair[0].predict(FRAMES[0]) - pair[1].predict(FRAMES[0])).max() > 1e-3
    for own in pair:
        expected = own.predict(FRAMES[0])
        _assert_near(own.fresh_copy().predict(FRAMES[0]), expected)
        other = own.with_method("source")
        _assert_near(other.predict(FRAMES[0]), expected)
        with Background(own) as beside:
            _assert_near(beside(FRAMES[0]), expected)
            beside.wait()
            own(FRAMES[0])
            key = "calib.recent_offset"
            _assert_near(beside.state[key], own.state[key])


def test_a_graph_that_onnxruntime_refuses_is_float32(tmp_path: Path) -> None:
    _exported(tmp_path / "b", "residual")
    bundle = Bundle(tmp_path / "b")
    for name in ("folded.onnx", "measuring.onnx"):
        (tmp_path / "b" / name).write_bytes(b"")
    int8 = Adapter(OnnxEngine(bundle))
    plain = Adapter(OnnxEngine(bundle, int8=False))
    np.testing.assert_array_equal(int8(FRAMES[0]), plain(FRAMES[0]))
    np.testing.assert_array_equal(int8.predict(FRAMES[1]), plain.predict(FRAMES[1]))
    assert "cannot load" in int8.engine.not_folded  # type: ignore[attr-defined]


def test_the_profile_memory_keeps_one_graph_for_all(tmp_path: Path) -> None:
    _exported(tmp_path / "b", "residual")
    lean = Adapter(OnnxEngine(Bundle(tmp_path / "b", profile="memory")))
    usual = Adapter(OnnxEngine(Bundle(tmp_path / "b")))
    for frame in FRAMES[:6]:
        np.testing.assert_allclose(lean(frame), usual(frame), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(lean.predict(frame), usual.predict(frame), atol=0.1)
    folded = lean.engine._folded  # type: ignore[attr-defined]
    assert list(folded._int8) == ["measuring.onnx"]


def test_a_bundle_that_learns_does_so_in_float32(tmp_path: Path) -> None:
    done = _exported(tmp_path / "b", "residual", "nanoadapt:tent")
    assert done.parity["nanoadapt:tent"].logits < 1e-4
    int8, wanted = _pair(tmp_path / "b", "nanoadapt:tent")
    np.testing.assert_array_equal(int8(FRAMES[0]), wanted(FRAMES[0]))
    graph = load(tmp_path / "b" / "folded.onnx", load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("QLinearConv") > 0
    assert "Conv" not in kinds
    weights = [t for t in graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) > 1]
    assert len(weights) == kinds.count("QLinearConv") + kinds.count("QGemm")


def test_what_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can be folded.*leave --int8 out"):
        _exported(tmp_path / "b", "plain")
    assert not (tmp_path / "b").exists()


def test_a_manifest_says_true_or_false(tmp_path: Path) -> None:
    _exported(tmp_path / "b", "residual")
    path = tmp_path / "b" / "manifest.json"
    fields = json.loads(path.read_text())
    assert fields["methods"]["nanoadapt:norm"]["folded"]["int8"] is True
    fields["methods"]["nanoadapt:norm"]["folded"]["int8"] = "yes"
    path.write_text(json.dumps(fields))
    with pytest.raises(BundleError, match="true or false"):
        Bundle(tmp_path / "b")


MODEL = """
from torch import nn
INPUT = dict(size=16, scale=255.0, mean=(0.5,) * 3, std=(0.25,) * 3)
def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )
"""


def _files(folder: Path) -> tuple[str, str]:
    model, pictures = folder / "model.py", folder / "pictures"
    model.write_text(MODEL)
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        cv2.imwrite(str(pictures / f"{k}.png"), rng.integers(0, 255, (16, 16, 3), np.uint8))
    return f"{model}:network", str(pictures)


def test_the_command_line_says_how_close_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, pictures = _files(tmp_path)
    asked = ["export", "bundle", "--model", model, "--host", "norm", "--with", "none", "--int8"]
    assert main([*asked, "--out", str(tmp_path / "b")]) == 1
    assert "--int8 needs frames" in capsys.readouterr().err
    assert main([*asked, "--frames", pictures, "--out", str(tmp_path / "b")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "nanoadapt:norm in int8, 4 frames: outputs differ by" in said
    assert main(["run", pictures, "--model", str(tmp_path / "b"), "--threads", "1"]) == 0


def test_benches_measure_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, pictures = _files(tmp_path)
    data = tmp_path / "set.npz"
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (24, 16, 16, 3), np.uint8)
    np.savez(data, images=images, labels=rng.integers(0, 4, 24))
    error = ["bench", "error", "--model", model, "--data", str(data), "--methods", "nanoadapt:norm"]
    assert main([*error, "--int8", pictures]) == 1
    assert "add --backend onnx" in capsys.readouterr().err
    out = tmp_path / "error.json"
    error += ["--json", str(out), "--backend", "onnx", "--threads", "1"]
    assert main([*error, "--int8", pictures]) == 0
    (row,) = json.loads(out.read_text())["results"]
    assert row["model"] == "model.py:network in int8"
    out = tmp_path / "latency.json"
    cost = ["bench", "latency", "--model", model, "--methods", "nanoadapt:norm", "--peers", "none"]
    cost += ["--frames", "4", "--turns", "2", "--warm-up", "1", "--json", str(out)]
    assert main([*cost, "--int8", pictures]) == 1
    assert main([*cost, "--int8", pictures, "--backend", "onnx", "--threads", "1"]) == 0
    works = {row["work"] for row in json.loads(out.read_text())["results"]}
    assert works == {"folded", "predict", "observe", "predict, int8", "observe, int8"}


def test_no_node_is_left_without_a_reader() -> None:
    graph, _ = _one("bias", scale_too=True)
    made = int8_graph(graph, ranges_of(graph, VECTORS, IMAGES), WeightFile(None))
    read = {name for node in made.graph.node for name in node.input} | {"logits"}

    def useful(node: NodeProto) -> bool:
        return not read.isdisjoint(node.output)

    assert all(map(useful, made.graph.node))
    assert {i.name for i in made.graph.input} == {"images", "scale", "bias"}
