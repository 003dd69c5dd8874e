"""The customer's own file comes back with adapted weights in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edge_tta import Adapter
from edge_tta.errors import ModelError
from edge_tta.network.onnx_file.adapted import adapted_file
from export.onnx_file import write_adapted
from tests.network.onnx_file.graphs import by_onnxruntime, exported, images_of, model, node, written
from tests.networks import Residual, with_statistics

IMAGES = torch.from_numpy(images_of(64, 3, 12, 12))


class Upsampling(nn.Module):
    """A grouped transposed convolution, and a linear layer that is a Gemm."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.hidden, self.head = nn.Linear(6, 7), nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.up(torch.relu(self.conv(x))))
        return self.head(torch.relu(self.hidden(x.mean((2, 3)))))


def adapted(path: Path) -> Adapter:
    adapter = Adapter(path, method="norm", source_images=IMAGES)
    for image in (IMAGES * 0.3 + 1)[:8].split(2):  # type: ignore[no-untyped-call]
        adapter(image)
    return adapter


@pytest.mark.parametrize("network", [Residual, Upsampling])
def test_it_computes_what_the_adapter_computes(network: type[nn.Module], tmp_path: Path) -> None:
    source = exported(with_statistics(network()), tmp_path / "net.onnx")
    adapter = adapted(source)
    out = tmp_path / "net.adapted.onnx"
    assert write_adapted(adapter, source, out) < 1e-4
    image = (IMAGES[:1] * 0.3 + 1).numpy()
    (made,) = by_onnxruntime(out, image)
    np.testing.assert_allclose(made, adapter.folded()(torch.from_numpy(image)).detach(), atol=1e-3)
    assert not np.allclose(made, by_onnxruntime(source, image)[0], atol=1e-2)


def test_names_opset_metadata_and_nodes_are_kept(tmp_path: Path) -> None:
    source = exported(with_statistics(Residual()), tmp_path / "net.onnx")
    proto = onnx.load(source)
    onnx.helper.set_model_props(proto, {"names": "['a', 'b']"})
    source.write_bytes(proto.SerializeToString())
    out = tmp_path / "out.onnx"
    write_adapted(adapted(source), source, out)
    made = onnx.load(out)
    assert [n.op_type for n in made.graph.node] == [n.op_type for n in proto.graph.node]
    for part in ("input", "output"):
        assert list(getattr(made.graph, part)) == list(getattr(proto.graph, part))
    assert made.opset_import == proto.opset_import
    assert made.metadata_props == proto.metadata_props


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    constants = {
        "q": np.random.default_rng(0).integers(-9, 9, (4, 3, 3, 3)).astype(np.int8),
        "s": np.float32(0.05).reshape(()),
        "z": np.int8(0).reshape(()),
    }
    nodes = [
        node("DequantizeLinear", "q s z", "w"),
        node("Conv", "x w", "c"),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "y"),
    ]
    source = written(tmp_path / "net.onnx", model(nodes, constants, shape=("n", 3, 12, 12)))
    with pytest.raises(ModelError, match=r"Conv node .* has quantised weights"):
        write_adapted(adapted(source), source, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_file_in_half_precision_stays_in_it(tmp_path: Path) -> None:
    constants = {"w": images_of(4, 3, 3, 3).astype(np.float16)}
    nodes = [
        node("Cast", "x", "h", to=onnx.TensorProto.FLOAT16),
        node("Conv", "h w", "c"),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "f"),
        node("Cast", "f", "y", to=onnx.TensorProto.FLOAT),
    ]
    source = written(tmp_path / "net.onnx", model(nodes, constants, shape=("n", 3, 12, 12)))
    adapter, out = adapted(source), tmp_path / "out.onnx"
    found = adapted_file(adapter.folded(), source)
    kinds = {tensor.name: tensor.data_type for tensor in found.model.graph.initializer}
    assert kinds["w"] == onnx.TensorProto.FLOAT16
    assert found.weights.keys() == kinds.keys()
    out.write_bytes(found.model.SerializeToString())
    image = (IMAGES[:1] * 0.3 + 1).numpy()
    (made,) = by_onnxruntime(out, image)
    np.testing.assert_allclose(made, adapter.predict(image).detach(), rtol=2e-2, atol=2e-2)
