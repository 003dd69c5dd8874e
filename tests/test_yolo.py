"""A YOLO of Ultralytics as it comes: the model file of the tutorial, around a stand-in.

The package is not installed here. The stand-in has its head's form: it keeps anchors for the latest
shape, and in evaluation returns boxes with scores (N, 4 + classes, A) and the raw maps.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.guard import Guard
from edge_tta.models import load_model
from edge_tta.tasks import Classes
from edge_tta.tasks.detection import SHOWN_FROM, BoxReading
from tests.networks import with_statistics

PAGE = Path(__file__).parents[1] / "docs" / "tutorials" / "detector.md"
SIDE, NAMES, BINS = 64, ("person", "car", "dog"), 4


def _block(i: int, o: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o, eps=1e-3), nn.SiLU()
    )


class Detect(nn.Module):
    """Distances of each anchor to the sides of its box, as distributions, and class scores."""

    dynamic, shape = False, None

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.anchors = self.strides = torch.empty(0)
        self.stride = torch.tensor([8.0, 16.0])
        self.cv2 = nn.ModuleList(
            nn.Sequential(_block(c, 8), nn.Conv2d(8, 4 * BINS, 1)) for c in channels
        )
        self.cv3 = nn.ModuleList(
            nn.Sequential(_block(c, 8), nn.Conv2d(8, len(NAMES), 1)) for c in channels
        )

    def forward(self, x: list[Tensor]) -> Any:
        for i, (boxes, classes) in enumerate(zip(self.cv2, self.cv3, strict=True)):
            x[i] = torch.cat((boxes(x[i]), classes(x[i])), 1)
        if self.training:
            return x
        shape = x[0].shape
        if self.dynamic or self.shape != shape:
            self.anchors, self.strides = _anchors(x, self.stride)
            self.shape = shape
        flat = torch.cat([xi.view(shape[0], 4 * BINS + len(NAMES), -1) for xi in x], 2)
        box, classes = flat.split((4 * BINS, len(NAMES)), 1)
        bins = box.view(shape[0], 4, BINS, -1).softmax(2)
        sides = (bins * torch.arange(float(BINS)).view(1, 1, -1, 1)).sum(2)
        low, high = self.anchors - sides[:, :2], self.anchors + sides[:, 2:]
        boxes = torch.cat(((low + high) / 2, high - low), 1) * self.strides
        return torch.cat((boxes, classes.sigmoid()), 1), x


def _anchors(maps: list[Tensor], strides: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres (2, A) of all positions of all maps, and the stride (1, A) of each."""
    centres, steps = [], []
    for xi, stride in zip(maps, strides, strict=True):
        height, width = xi.shape[2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centres.append(torch.stack((x, y)).flatten(1) + 0.5)
        steps.append(torch.full((1, height * width), stride))
    return torch.cat(centres, 1), torch.cat(steps, 1)


class Yolo(nn.Module):
    """Two maps, of strides 8 and 16, and the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(3, 8, 2), _block(8, 8, 2), _block(8, 16, 2))
        self.down, self.head = _block(16, 16, 2), Detect((16, 16))

    def forward(self, images: Tensor) -> Any:
        fine = self.stem(images)
        return self.head([fine, self.down(fine)])


class _Package(ModuleType):
    """`ultralytics`, as far as the tutorial uses it."""

    class YOLO:
        def __init__(self, weights: str) -> None:
            torch.manual_seed(0)
            self.names, self.model = dict(enumerate(NAMES)), with_statistics(Yolo())


def test_the_tutorials_model_file_finds_and_adapts_a_yolo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", _Package("ultralytics"))
    (block,) = re.findall(r"```python\n(# yolo.py\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "yolo.py").write_text(block.replace("640", str(SIDE)), "utf-8")
    model = load_model(f"{tmp_path / 'yolo.py'}:network").with_task(None)
    assert model.task is not None
    assert (model.task.name, model.labels, model.input.size) == ("detect", NAMES, SIDE)

    images = torch.rand((6, 1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) * 0.3
    adapter = Adapter(model.module, "nanoadapt", task=model.task)
    guard = Guard(adapter)
    for image in images:
        outputs = guard(image)
    with torch.no_grad():
        expected, _ = model.module(images[-1])
    source = adapter.predict_source(images[-1])
    assert nest.form_of(source) == nest.form_of((expected, [expected] * 2))
    torch.testing.assert_close(source[0], expected, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(guard.own[0], expected, rtol=1e-3, atol=1e-3)

    reading = model.task.read(source, Classes(len(NAMES), NAMES))
    assert isinstance(reading, BoxReading)
    raw = expected[0].numpy().T
    best = raw[raw[:, 4:].max(1).argmax()]
    x, y, width, height = best[:4] / SIDE
    corners = np.clip([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 0, 1)
    assert best[4:].max() > SHOWN_FROM
    np.testing.assert_allclose(reading.boxes.corners[0], corners, atol=1e-4)
    assert reading.boxes.classes[0] == best[4:].argmax()
    assert len(model.task.read(outputs, Classes(len(NAMES), NAMES)).likeliest) > 0
