"""A camera and a classifier of your own: every frame is predicted and learned from.

python webcam.py [SOURCE [FRAMES]]      SOURCE: 0 (a camera), a video, a folder, an address
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from torch import nn

from edge_tta import Adapter, Filtered, Guard
from edge_tta.frames import open_source
from edge_tta.prepare import InputSpec

LABELS = ("cat", "dog", "fish")
INPUT = InputSpec(size=64, scale=255.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def network() -> nn.Module:
    """Your network goes here, with its weights loaded; this one has learned nothing."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(LABELS))),
    ).eval()


def main(arguments: Sequence[str]) -> None:
    source, frames, *_ = *arguments, *("0", "0")[len(arguments) :]
    # The guard goes back to the network as trained where adapting does harm, the filter weighs
    # neighbouring frames together.
    adapter = Adapter(network(), input_spec=INPUT)
    predict = Filtered(Guard(adapter))
    with open_source(source, max_frames=int(frames) or None) as camera:
        for frame in camera:
            scores = predict(INPUT.prepare(frame.pixels), time_s=frame.time_s)[0]
            print(f"{frame.name}: {LABELS[int(scores.argmax())]}")
    adapter.save("webcam.safetensors")  # adapter.load goes on from it
    print(f"{adapter.steps} frames, {adapter.updates} updates, saved in webcam.safetensors")


if __name__ == "__main__":
    main(sys.argv[1:])
