"""Golden results: logits and states of every method over 40 frames, recorded and compared.

    python -m tests.golden record FOLDER [--onnx]
    python -m tests.golden compare FOLDER [--onnx]

Needs the zoo and the data that EDGE_TTA_DATA names. Recorded with one commit and compared with
another on the same machine, values agree to the bit, or to rounding where the order of operations
has changed; `compare` prints the largest difference of each case, relative to the largest value.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from edge_tta import Adapter
from edge_tta.models import load_model

FRAMES = 40
NETWORKS = (
    "cifar10_resnet8",
    "cifar10_resnet20",
    "cifar10_resnet56",
    "cifar100_micronet",
    "imagenet_mobilenetv1_025",
    "imagenet_mobilenetv2",
)
BASELINES = ("source", "norm", "alpha-bn", "tent", "eata", "sar", "delta")
HOSTS = ("norm", "tent", "eata", "sar", "delta")
CASES = [(method, "edge") for method in BASELINES] + [
    (f"nanoadapt:{host}", preset) for preset in ("edge", "paper") for host in HOSTS
]
ONNX_METHODS = ("nanoadapt:tent", "norm", "source")
ONNX_METHODS_FULL = (*BASELINES, *(f"nanoadapt:{host}" for host in HOSTS))
TOLERANCE = 1e-4


RENAMED = {
    "first": "opt.first_moment",
    "second": "opt.second_moment",
    "kept": "opt.counted",
    "content.variety": "calib.classes.dispersion",
    "spread": "calib.from_lasting",
    "change": "taylor.change",
}
OPT = ("parameters", "gradient", "position", "updates", "applied")


def today(name: str, anchored: bool) -> str:
    """The present key of a tensor recorded with flat keys."""
    if not name.startswith("state/"):
        return name
    key = name.removeprefix("state/")
    if key in RENAMED:
        key = RENAMED[key]
    elif key in OPT:
        key = f"opt.{key}"
    elif key in ("class_mean", "loss_mean", "fisher"):
        key = f"host.{key}"
    elif key in ("offset", "variance"):
        key = f"calib.recent_{key}" if anchored else f"calib.{key}"
    elif key.startswith("lasting_"):
        key = f"calib.{key}"
    elif key.startswith("content."):
        key = key.replace("content.", "calib.classes.")
    elif key.startswith("jacobian."):
        key = f"taylor.{key}"
    return f"state/{key}"


def difference(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> float:
    """Largest difference of any array, relative to its largest value; a missing one is infinite."""
    worst = 0.0
    anchored = "state/lasting_offset" in old
    for name, value in old.items():
        other = new.get(today(name, anchored))
        if other is None and "state/steps" in new and len(new) == 2:
            continue  # source keeps no statistics
        if other is None or other.shape != value.shape:
            print(f"          lacks {name}")
            return float("inf")
        if value.size:
            gap = np.abs(other.astype(float) - value.astype(float)).max()
            worst = max(worst, float(gap / max(np.abs(value).max(), 1e-12)))
    return worst


def frames(network: str) -> np.ndarray:
    """Noisy pictures (40, H, W, 3), uint8, of a network's own kind."""
    data = Path(os.environ["EDGE_TTA_DATA"]) / "data"
    if network.startswith("imagenet"):
        files = sorted((data / "nips17_dev").glob("*.jpg"))[:FRAMES]
        pictures = np.stack([cv2.imread(str(file))[..., ::-1] for file in files])
    else:
        name = "cifar100" if "100" in network else "cifar10"
        pictures = np.load(data / f"{name}_test_first5000.npz")["images"][:FRAMES]
    noise = np.random.default_rng(0).normal(0, 20, pictures.shape)
    return np.clip(0.7 * pictures + 40 + noise, 0, 255).astype(np.uint8)


def run(adapter: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Logits of all frames, and the state after them, by name."""
    logits = [np.asarray(adapter(images[i : i + 1])) for i in range(len(images))]
    state = {name: np.asarray(value) for name, value in adapter.state.items()}
    return {"logits": np.concatenate(logits), **{f"state/{k}": v for k, v in state.items()}}


def results(engine: str) -> Any:
    """(case, arrays) of every case of an engine."""
    zoo = Path(os.environ["EDGE_TTA_DATA"]) / "zoo" / "zoo.py"
    for network in NETWORKS:
        model = load_model(f"{zoo}:{network}")
        spec = model.input
        images = np.concatenate([spec.prepare(frame) for frame in frames(network)])
        if engine == "torch":
            for method, preset in CASES:
                adapter = Adapter(model.module, method, preset=preset, input_spec=spec)
                yield f"{network}/{method}/{preset}/torch", run(adapter, images)
        else:
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / "bundle"
                labels = ONNX_METHODS if network != "cifar10_resnet8" else ONNX_METHODS_FULL
                adapters = [Adapter(model.module, label, input_spec=spec) for label in labels]
                from export.bundle import export_bundle

                export_bundle(model, adapters, "edge", target)
                for label in labels:
                    yield f"{network}/{label}/onnx", run(Adapter(target, label), images)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--onnx", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    worst = 0.0
    for case, arrays in results("onnx" if options.onnx else "torch"):
        path = options.folder / (case.replace("/", "+") + ".npz")
        if options.what == "record":
            np.savez_compressed(path, **arrays)
            print(case, flush=True)
        else:
            gap = difference(dict(np.load(path)), arrays)
            worst = max(worst, gap)
            print(f"{gap:9.1e}  {case}", flush=True)
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
