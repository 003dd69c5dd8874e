"""A folded network gets its BatchNorms back, and computes what it computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge_tta import Adapter
from edge_tta.errors import ModelError
from edge_tta.network.onnx_file import read_file, restore
from edge_tta.network.onnx_file.operators.normalisation import BatchNorm
from edge_tta.network.onnx_file.restoring import check_statistics
from tests.network.onnx_file.graphs import exported, images_of, model, node, written
from tests.networks import Plain, Residual, with_statistics

IMAGES = torch.from_numpy(images_of(64, 3, 12, 12))


class Gated(nn.Module):
    """A convolution, a gate of 1 x 1 maps on it, and a branch of two that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        gate = torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        x = x * torch.sigmoid(self.excite(gate))
        x = torch.relu(torch.cat((self.left(x), self.right(x)), 1))
        return self.head(x.mean((2, 3)))


def one_by_one(images: torch.Tensor) -> list[torch.Tensor]:
    return list(images.split(1))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("network", "layers"), [(Plain, 3), (Residual, 5), (Gated, 3)])
def test_the_function_stays_and_statistics_are_those_of_the_images(
    network: type[nn.Module], layers: int, tmp_path: Path
) -> None:
    file = read_file(exported(with_statistics(network()), tmp_path / "net.onnx"))
    with torch.no_grad():
        before = file.module(IMAGES)
        done = restore(file.module, one_by_one(IMAGES))
        after = file.module(IMAGES)
    norms = [m for m in file.module.modules() if isinstance(m, BatchNorm)]
    assert done.layers == len(norms) == layers
    assert done.frames == 64
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    seen: dict[nn.Module, torch.Tensor] = {}

    def keep(norm: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen[norm] = given[0].detach().double()

    for norm in norms:
        norm.register_forward_pre_hook(keep)
    file.module(IMAGES)
    for norm in norms:
        axes = [a for a in range(seen[norm].ndim) if a != 1]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, variance = seen[norm].mean(axes), seen[norm].var(axes, unbiased=False)
        torch.testing.assert_close(norm.running_mean, mean.float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, variance.float(), rtol=1e-3, atol=1e-5)


def test_a_restored_network_adapts_as_any_other(tmp_path: Path) -> None:
    path = exported(with_statistics(Residual()), tmp_path / "net.onnx")
    adapter = Adapter(path, source_images=IMAGES)
    with torch.no_grad():
        expected = read_file(path).module(IMAGES[:1])
    torch.testing.assert_close(adapter.predict_source(IMAGES[:1]), expected, rtol=1e-4, atol=1e-4)
    shifted = IMAGES * 0.3 + 1.0
    for image in one_by_one(shifted):
        logits = adapter(image)
    assert adapter.steps == len(IMAGES)
    assert not torch.allclose(logits, adapter.predict_source(shifted[-1:]), atol=1e-2)
    folded = adapter.folded()
    torch.testing.assert_close(
        folded(shifted[:1]), adapter.predict(shifted[:1]), rtol=1e-3, atol=1e-3
    )


def test_an_image_more_or_less_changes_little_and_the_same_images_nothing(tmp_path: Path) -> None:
    path = exported(with_statistics(Residual()), tmp_path / "net.onnx")
    prints = [
        Adapter(path, source_images=IMAGES).engine.network.fingerprint  # type: ignore[attr-defined]
        for _ in range(2)
    ]
    assert prints[0] == prints[1]


def test_more_images_make_the_statistics_surer(tmp_path: Path) -> None:
    path = exported(with_statistics(Plain()), tmp_path / "net.onnx")
    few, many = (
        restore(read_file(path).module, one_by_one(IMAGES[:n])).uncertainty for n in (16, 64)
    )
    assert many < few
    assert few / many == pytest.approx(2, rel=0.5)  # the standard error falls with the root


def test_too_few_images_and_networks_without_a_place_are_refused(tmp_path: Path) -> None:
    path = exported(with_statistics(Plain()), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="3 source frames are too few"):
        restore(read_file(path).module, one_by_one(IMAGES[:3]))
    proto = model(
        [node("Flatten", "x", "f"), node("Gemm", "f w", "y")], {"w": np.ones((192, 2), np.float32)}
    )
    with pytest.raises(ModelError, match="no convolution or Gemm in front of an activation"):
        restore(read_file(written(tmp_path / "linear.onnx", proto)).module, one_by_one(IMAGES))


def test_values_that_are_not_finite_are_told_of(tmp_path: Path) -> None:
    path = exported(with_statistics(Plain()), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="not finite on the source frames"):
        restore(read_file(path).module, one_by_one(IMAGES * float("nan")))


def test_networks_folded_in_part_are_told_of(tmp_path: Path) -> None:
    network = read_file(exported(with_statistics(Gated()), tmp_path / "all.onnx")).module
    with pytest.raises(ModelError, match=r"net: its BatchNorms are folded .*: --frames"):
        check_statistics(network, "net", "--frames")
    # The exporter leaves the BatchNorm behind a linear layer.
    network = read_file(exported(with_statistics(Plain()), tmp_path / "part.onnx")).module
    told = check_statistics(network, "net", "--frames")
    assert told.startswith("net: 1 BatchNorms are in the file, and 2 more convolutions or Gemms")
    restore(network, one_by_one(IMAGES))
    assert check_statistics(network, "net", "--frames") == ""
