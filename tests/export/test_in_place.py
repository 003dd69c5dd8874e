"""Folded graphs: BatchNorms in odd places, and layers whose moments are not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
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


class _Large(nn.Module):
    """Maps and a signal measured in part, of as many channels: sides of 112, beside one of 38 and
    alone, all leave 38 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, (3, 1), padding=1), nn.BatchNorm2d(4)
        self.conv3, self.bn3 = nn.Conv1d(4, 4, 3, padding=1), nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = functional.relu(self.bn3(self.conv3(x.mean(2))))
        logits: Tensor = self.head(x.mean(2))
        return logits


def test_rows_that_are_measured_weigh_as_in_pytorch_in_int8_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = replace(SPEC, size=(112, 112))
    model = Model("large", with_statistics(_Large()), spec)
    adapter = Adapter(model.module, "nanoadapt:norm", input_spec=spec)
    frames = [torch.randn((1, 3, 112, 112)).numpy() for _ in range(6)]
    done = export_bundle(model, [adapter], "edge", tmp_path / "float32", frames)
    parity = done.parity["nanoadapt:norm"]
    assert max(parity.logits, parity.state) <= STEP_TOLERANCE
    export_bundle(model, [adapter], "edge", tmp_path / "int8", frames, int8=frames)
    coded, plain = Adapter(tmp_path / "int8"), Adapter(tmp_path / "float32")
    for frame in frames:
        coded(frame), plain(frame)
    assert not getattr(plain.engine, "not_folded", "none")
    for key in ("calib.recent_offset", "calib.recent_variance"):
        int8, wanted = coded.state[key], plain.state[key]
        assert not np.array_equal(int8, wanted)
        assert np.abs(int8 - wanted).mean() < 0.01 * np.abs(wanted).mean(), key
