"""Both executors err on the same pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.corruptions import corrupt
from edge_tta.adapter import Adapter
from edge_tta.models import load_model
from export.bundle import export_bundle

FRAMES = 500


def test_errors_of_both_executors_differ_by_at_most_a_fifth_of_a_point(
    outside_data: Path, tmp_path: Path
) -> None:
    model = load_model(f"{outside_data / 'zoo' / 'zoo.py'}:cifar10_resnet8")
    with np.load(outside_data / "data" / "cifar10_test_first5000.npz") as data:
        pictures, labels = data["images"][:FRAMES], data["labels"][:FRAMES]
    adapter = Adapter(model.module, input_spec=model.input)
    export_bundle(model, [adapter.fresh_copy()], "edge", tmp_path / "bundle")
    bundle = Adapter(tmp_path / "bundle")
    wrong = {"torch": 0, "onnx": 0}
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        frame = corrupt(picture, "gaussian_noise", 5, seed=number)
        image = model.input.prepare(frame)
        wrong["torch"] += int(adapter(image).argmax() != label)
        wrong["onnx"] += int(bundle(image).argmax() != label)
    assert adapter.updates == bundle.updates > 25
    assert abs(wrong["torch"] - wrong["onnx"]) <= 0.002 * FRAMES, wrong
    print(f"errors of {FRAMES}: {wrong}")
