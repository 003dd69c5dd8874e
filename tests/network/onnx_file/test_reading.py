"""An ONNX file becomes a network that everything here takes, with what it says of its input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge_tta import Adapter
from edge_tta.errors import ModelError
from edge_tta.network.capture import capture
from edge_tta.network.onnx_file import read_file
from edge_tta.prepare import Channels
from tests.network.onnx_file.graphs import by_onnxruntime, exported, images_of, model, node, written
from tests.networks import Plain, Residual, with_statistics

HEAD = [node("GlobalAveragePool", "c", "p"), node("Flatten", "p", "y")]
RELU = [node("GlobalAveragePool", "r", "p"), node("Flatten", "p", "y")]
WEIGHT = {"w": images_of(4, 3, 3, 3)}


def conv_of(name: str) -> list[onnx.NodeProto]:
    return [node("Conv", f"{name} w", "c"), *HEAD]


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("network", [Plain, Residual])
def test_a_network_of_fixed_batch_takes_any_number_of_images(
    network: type[nn.Module], opset: int, tmp_path: Path
) -> None:
    path = exported(with_statistics(network()), tmp_path / "net.onnx", opset_version=opset)
    images = images_of(3, 3, 12, 12)
    expected = np.concatenate([by_onnxruntime(path, image[None])[0] for image in images])
    with torch.no_grad():
        made = read_file(path).module(torch.from_numpy(images))
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_batch_norm_nodes_are_sites_as_they_are(tmp_path: Path) -> None:
    source = with_statistics(Plain())
    options = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    path = exported(source, tmp_path / "net.onnx", **options)
    program = capture(read_file(path).module, (3, 12, 12))
    assert len(program.sites) == 3
    assert all(site.linear is not None for site in program.sites)
    adapter = Adapter(path)
    adapter(images_of(1, 3, 12, 12))
    assert adapter.steps == 1


def test_size_labels_and_scale_are_read_from_the_file(tmp_path: Path) -> None:
    metadata = {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "imgsz": "[48, 64]"}
    proto = model(conv_of("x"), WEIGHT, shape=("n", 3, "h", "w"), metadata=metadata)
    file = read_file(written(tmp_path / "net.onnx", proto))
    assert (file.input.size, file.input.scale, file.input.mean) == ((48, 64), 255.0, (0.0,) * 3)
    assert file.labels == ("cat", "dog")


@pytest.mark.parametrize(("mean", "scale"), [(127.5, 1.0), (0.5, 255.0)])
def test_a_normalisation_in_the_graph_is_left_to_it(
    mean: float, scale: float, tmp_path: Path
) -> None:
    nodes = [node("Sub", "x mu", "s"), node("Div", "s mu", "n"), *conv_of("n")]
    proto = model(nodes, WEIGHT | {"mu": np.float32(mean).reshape(1)})
    spec = read_file(written(tmp_path / "net.onnx", proto)).input
    assert (spec.scale, set(spec.mean), set(spec.std)) == (scale, {0.0}, {1.0})


def test_a_product_in_front_is_a_normalisation_too(tmp_path: Path) -> None:
    nodes = [node("Mul", "x k", "m"), *conv_of("m")]
    proto = model(nodes, WEIGHT | {"k": np.full((1, 3, 1, 1), 1 / 255, np.float32)})
    spec = read_file(written(tmp_path / "net.onnx", proto)).input
    assert (spec.scale, set(spec.mean), set(spec.std)) == (1.0, {0.0}, {1.0})


def test_channels_last_and_whole_numbers_are_taken(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "x", "f", to=1),
        node("Transpose", "f", "t", perm=[0, 3, 1, 2]),
        *conv_of("t"),
    ]
    proto = model(nodes, WEIGHT, shape=(1, 8, 10, 3), kind=TensorProto.UINT8)
    path = written(tmp_path / "net.onnx", proto)
    file = read_file(path)
    assert (file.input.shape, file.input.scale) == ((3, 8, 10), 1.0)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 8, 10, 3), np.uint8)
    (expected,) = by_onnxruntime(path, pixels)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    np.testing.assert_allclose(file.module(images).detach(), expected, rtol=1e-4)


def test_one_channel_is_gray(tmp_path: Path) -> None:
    proto = model(conv_of("x"), {"w": images_of(4, 1, 3, 3)}, shape=(1, 1, 8, 8))
    assert read_file(written(tmp_path / "net.onnx", proto)).input.channels is Channels.GRAY


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "x", "h", to=TensorProto.FLOAT16),
        node("Conv", "h w", "c"),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "f"),
        node("Cast", "f", "y", to=TensorProto.FLOAT),
    ]
    path = written(tmp_path / "net.onnx", model(nodes, {"w": WEIGHT["w"].astype(np.float16)}))
    images = images_of(1, 3, 8, 8)
    (expected,) = by_onnxruntime(path, images)
    made = read_file(path).module(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(made, expected, atol=5e-3)


def test_quantised_weights_are_dequantised_and_limits_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    constants = {
        "q": rng.integers(-128, 127, (4, 3, 3, 3)).astype(np.int8),
        "s": np.array([0.01, 0.02, 0.01, 0.005], np.float32),
        "z": np.zeros(4, np.int8),
        "a": np.float32(0.05).reshape(()),
        "o": np.int8(-128).reshape(()),
    }
    nodes = [
        node("DequantizeLinear", "q s z", "w", axis=0),
        node("Conv", "x w", "r"),
        node("QuantizeLinear", "r a o", "k"),
        node("DequantizeLinear", "k a o", "c"),
        *HEAD,
    ]
    path = written(tmp_path / "net.onnx", model(nodes, constants))
    images = images_of(2, 3, 8, 8)
    (expected,) = by_onnxruntime(path, images)
    made = read_file(path).module(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(made, expected, atol=0.05 / 2)
    assert expected.min() >= 0 < made.min()  # the limits are a Relu here


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    proto = model(conv_of("x"), {"w": images_of(32, 3, 3, 3)})
    plain = written(tmp_path / "plain.onnx", proto)
    path = tmp_path / "net.onnx"
    onnx.save_model(proto, str(path), save_as_external_data=True, size_threshold=0)
    assert path.stat().st_size < plain.stat().st_size
    images = torch.from_numpy(images_of(1, 3, 8, 8))
    assert torch.equal(read_file(path).module(images), read_file(plain).module(images))


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    body = [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Neg", ["t"], ["b"])]
    opsets = [helper.make_opsetid("", 13)]
    function = helper.make_function("local", "Both", ["a"], ["b"], body, opsets)
    nodes = [helper.make_node("Both", ["x"], ["y"], domain="local")]
    path = written(tmp_path / "net.onnx", model(nodes, functions=[function]))
    images = torch.from_numpy(images_of(1, 3, 8, 8))
    assert torch.equal(read_file(path).module(images), -images.relu())


def test_what_cannot_be_read_is_named_with_its_node(tmp_path: Path) -> None:
    proto = model([node("NonZero", "x", "y")])
    with pytest.raises(ModelError, match=r"NonZero node 'node_y' cannot be read"):
        read_file(written(tmp_path / "net.onnx", proto))
    proto = model([helper.make_node("Magic", ["x"], ["y"], domain="com.example")])
    with pytest.raises(ModelError, match=r"com\.example\.Magic node 'y' cannot be read"):
        read_file(written(tmp_path / "net.onnx", proto))


def test_a_folded_network_without_source_images_is_refused(tmp_path: Path) -> None:
    path = written(
        tmp_path / "net.onnx", model([*conv_of("x")[:1], node("Relu", "c", "r"), *RELU], WEIGHT)
    )
    with pytest.raises(ModelError, match=r"folded into its convolutions.*source_images"):
        Adapter(path)


def test_a_constant_of_the_file_is_an_initializer_or_a_node(tmp_path: Path) -> None:
    value = numpy_helper.from_array(WEIGHT["w"])
    nodes = [helper.make_node("Constant", [], ["w"], value=value), *conv_of("x")]
    images = torch.from_numpy(images_of(1, 3, 8, 8))
    one = read_file(written(tmp_path / "one.onnx", model(nodes))).module(images)
    other = read_file(written(tmp_path / "other.onnx", model(conv_of("x"), WEIGHT))).module(images)
    assert torch.equal(one, other)
