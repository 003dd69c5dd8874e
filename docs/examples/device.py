"""A bundle on a device without PyTorch, with numpy, OpenCV and onnxruntime.

    python device.py BUNDLE [SOURCE [FRAMES]]      BUNDLE: of `edge-tta export bundle`

What was learned is kept in device.safetensors, from which the next start goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from edge_tta import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.demo.source import DEMO
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.frames import open_source

STATE = Path("device.safetensors")


def main(arguments: Sequence[str]) -> None:
    folder, source, frames, *_ = *arguments, *("", "0", "0")[len(arguments) :]
    bundle = Bundle(folder, threads=1)
    adapter = Adapter(OnnxEngine(bundle))
    labels = bundle.manifest.labels
    if STATE.exists():
        adapter.load(STATE)
    with open_source(source, max_frames=int(frames) or None, more=DEMO) as camera:
        for frame in camera:
            scores = adapter(bundle.manifest.input.prepare(frame.pixels))[0]
            best = int(scores.argmax())
            print(f"{frame.name}: {best if labels is None else labels[best]}")
    adapter.save(STATE)
    print(f"{adapter.steps} frames so far, saved in {STATE}")


if __name__ == "__main__":
    main(sys.argv[1:])
