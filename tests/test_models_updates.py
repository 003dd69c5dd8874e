"""Updates of an adapted ONNX file for another engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import torch

from edge_tta import Adapter
from edge_tta.models.updates import Updates
from edge_tta.network.onnx_file.adapted import Adapted
from tests.network.onnx_file.graphs import exported, images_of
from tests.networks import Residual, with_statistics

IMAGES = torch.from_numpy(images_of(32, 3, 12, 12))


def test_weights_are_handed_over_when_due_and_the_sources_while_the_guard_has_fallen_back(
    tmp_path: Path,
) -> None:
    path = exported(with_statistics(Residual()), tmp_path / "net.onnx")
    adapter = Adapter(path, method="norm", source_images=IMAGES)
    taken: list[Adapted] = []
    guard: Any = SimpleNamespace(fallen=None)
    updates = Updates(adapter, path, taken.append, every=3, guard=guard)
    due = []
    for index, image in enumerate((IMAGES * 0.3 + 1)[:8].split(1)):  # type: ignore[no-untyped-call]
        guard.fallen = "harm" if index in (4, 5) else None
        adapter(image)
        due.append(updates())
    assert due == [False, False, True, False, True, False, True, False]
    held = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    adapted, of_source, again = taken
    assert adapted.weights.keys() <= held.keys()
    for name, value in of_source.weights.items():
        np.testing.assert_allclose(value, held[name], rtol=1e-4, atol=1e-5)
    moved = [max(np.abs(w[n] - held[n]).max() for n in w) for w in (adapted.weights, again.weights)]
    assert min(moved) > 1e-2
    of_model = {t.name: onnx.numpy_helper.to_array(t) for t in again.model.graph.initializer}
    for name, value in again.weights.items():
        np.testing.assert_array_equal(of_model[name], value)
