"""Networks whose normalisations keep no statistics: scale and shift train, nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_tta import Adapter
from edge_tta.engines.base import Backward
from edge_tta.errors import ConfigError, ModelError
from edge_tta.network.capture import capture
from export.onnx_file import write_adapted
from tests.network.onnx_file.graphs import by_onnxruntime, exported, images_of
from tests.networks import with_statistics

IMAGES = torch.from_numpy(images_of(40, 3, 12, 12))


class Grouped(nn.Module):
    """Group normalisation in front, layer normalisation behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first = nn.Conv2d(3, 8, 3, bias=False), nn.GroupNorm(2, 8)
        self.second = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(self.conv(x)))
        x = self.second(x.permute(0, 2, 3, 1))
        return self.head(x.mean((1, 2)))


def network() -> nn.Module:
    model = with_statistics(Grouped())
    with torch.no_grad():
        model.head.bias.zero_()  # type: ignore[union-attr,operator]
        for norm in (model.first, model.second):  # type: ignore[union-attr]
            norm.weight.copy_(torch.linspace(0.5, 1.5, 8))  # type: ignore[union-attr,operator]
            norm.bias.copy_(torch.linspace(-0.3, 0.3, 8))  # type: ignore[union-attr,operator]
    return model


def test_scale_and_shift_are_found_and_nothing_is_calibrated() -> None:
    program = capture(network().requires_grad_(False), (3, 12, 12))
    assert [site.layer.name for site in program.sites] == ["first", "second"]
    assert not program.calibrates
    assert set(program.parameters) == {
        f"{name}.{part}" for name in ("first", "second") for part in ("weight", "bias")
    }


@pytest.mark.parametrize(("method", "saved"), [("tent", "stock"), ("nanoadapt", "float32")])
def test_a_step_is_tents_on_these_alone(method: str, saved: str) -> None:
    model = network()
    plain = {"accumulation": 1, "weighting": "mean", "reliable_below": 0.0, "learning_rate": 1e-3}
    adapter = Adapter(model, method, backward=Backward(saved), **plain)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = model(IMAGES[:1])
    torch.testing.assert_close(adapter(IMAGES[:1]), expected, rtol=1e-5, atol=1e-5)
    parameters = [p for n in ("first", "second") for p in getattr(model, n).parameters()]
    logs = torch.log_softmax(model(IMAGES[:1]), 1)
    gradients = torch.autograd.grad(-(logs.exp() * logs).sum(), parameters)
    folded = adapter.folded()
    changed = dict(folded.named_parameters())
    for (name, old), own in zip(model.named_parameters(), folded.parameters(), strict=True):
        moves = name.startswith(("first", "second"))
        assert torch.equal(old, own) != moves, name
    # The first step of Adam is the learning rate against the gradient's sign.
    moved = [changed[f"{n}.{p}"] for n in ("first", "second") for p in ("weight", "bias")]
    for new, old, gradient in zip(moved, parameters, gradients, strict=True):
        clear = gradient.abs() > 1e-5
        step = -1e-3 * gradient[clear].sign()
        torch.testing.assert_close((new - old)[clear], step, atol=1e-5, rtol=1e-2)


def test_an_onnx_file_adapts_and_comes_back(tmp_path: Path) -> None:
    for opset in (13, 17):
        source = exported(network(), tmp_path / f"net{opset}.onnx", opset_version=opset)
        adapter = Adapter(source, method="tent")
        with torch.no_grad():
            expected = network()(IMAGES[:1])
        torch.testing.assert_close(adapter(IMAGES[:1]), expected, rtol=1e-4, atol=1e-4)
        assert len(adapter.engine.step.program.sites) == 2  # type: ignore[attr-defined]
        for image in IMAGES.split(1):  # type: ignore[no-untyped-call]
            adapter(image)
        out = tmp_path / f"out{opset}.onnx"
        assert write_adapted(adapter, source, out) < 1e-4
        (made,) = by_onnxruntime(out, IMAGES[:1].numpy())
        (before,) = by_onnxruntime(source, IMAGES[:1].numpy())
        np.testing.assert_allclose(made, adapter.predict(IMAGES[:1]).detach(), rtol=1e-3, atol=1e-3)
        assert not np.allclose(made, before, atol=1e-3)


def test_what_only_calibrates_is_refused(tmp_path: Path) -> None:
    for words in ({"method": "norm"}, {"method": "nanoadapt:norm"}, {"method": "eata"}):
        with pytest.raises(ConfigError, match="use --method tent"):
            Adapter(network(), **words).prepare((3, 12, 12))  # type: ignore[arg-type]
    assert Adapter(network(), "source").prepare((3, 12, 12)) == 5
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4, affine=False), nn.Flatten())
    with pytest.raises(ModelError, match="GroupNorm, without a scale"):
        Adapter(bare)


def test_its_state_is_saved_and_resumed(tmp_path: Path) -> None:
    one, other = Adapter(network()), Adapter(network())
    for image in IMAGES[:18].split(1):  # type: ignore[no-untyped-call]
        one(image)
    one.save(tmp_path / "state.safetensors")
    other.load(tmp_path / "state.safetensors")
    torch.testing.assert_close(other(IMAGES[20:21]), one(IMAGES[20:21]), rtol=0, atol=0)
