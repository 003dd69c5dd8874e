"""Folded graphs: BatchNorms in odd places, and layers whose moments are not measured."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.adapter import Adapter
from edge_tta.models import Model
from export.bundle import export_bundle
from export.parity import STEP_TOLERANCE
from tests.bundle.bundles import SPEC
from tests.networks import with_statistics


class _Odd(nn.Module):
    """BatchNorms of the image, behind another, and two behind one convolution; a signal's."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0, self.conv1 = nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 4, 1, bias=False)
        self.bn3, self.bn4 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.conv3, self.bn5 = nn.Conv1d(8, 5, 3, padding=1), nn.BatchNorm1d(5)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn2(self.bn1(self.conv1(self.bn0(x)))))
        x = self.conv2(x)
        x = torch.cat([self.bn3(x), functional.relu(self.bn4(x))], 1)
        x = functional.relu(self.bn5(self.conv3(x.mean(3)))) * 0.5
        logits: Tensor = self.head(x.mean(2))
        return logits


def test_batch_norms_in_odd_places_are_folded_as_pytorch_computes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Model("odd", with_statistics(_Odd()), SPEC)
    adapter = Adapter(model.module, input_spec=SPEC)
    parity = export_bundle(model, [adapter], "edge", tmp_path / "b").parity["nanoadapt:tent"]
    assert max(parity.logits, parity.state) <= STEP_TOLERANCE
    graph = onnx.load(tmp_path / "b" / "folded.onnx", load_external_data=False).graph
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
    bundle = Adapter(tmp_path / "b")
    bundle.predict(torch.zeros((1, 3, 8, 8)).numpy())
    assert not getattr(bundle.engine, "not_folded", "none")


def test_layers_that_stay_as_trained_are_not_measured(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, 2, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    model = Model("three", with_statistics(module), SPEC)
    squares = {}
    for coarsest in (1, 1e9):
        adapter = Adapter(
            model.module,
            "nanoadapt:norm",
            input_spec=SPEC,
            calibration="framewise",
            coarsest=coarsest,
            diversity=0.0,
            alpha=0.0,
        )
        folder = tmp_path / f"{coarsest:g}"
        parity = export_bundle(model, [adapter], "edge", folder).parity["nanoadapt:norm"]
        assert max(parity.logits, parity.state) <= STEP_TOLERANCE
        graph = onnx.load(folder / "measuring.onnx", load_external_data=False).graph
        squares[coarsest] = sum(node.op_type == "Mul" for node in graph.node)
    assert squares == {1: 1, 1e9: 3}
