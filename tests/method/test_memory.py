"""Memory over a long stream."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.commands import needs_torch

FRAMES = 800

SCRIPT = """
import sys, torch
from edge_tta import Adapter

torch.set_num_threads(1)
torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1),torch.nn.Flatten(), torch.nn.Linear(4, 3)
).eval()
adapter = Adapter(net)
images, kept = torch.randn(50, 1, 3, 48, 48), []

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def growth(frames, bytes_kept):
    for frame in range(frames):
        adapter(images[frame % 50])
        kept.append(bytearray(b"x" * bytes_kept))
        if frame == frames // 10:
            start = resident()
    return resident() - start

frames = int(sys.argv[1])
print(growth(frames, 0), growth(frames // 2, images[0].nbytes))
print(adapter.steps, int(adapter.state["opt.updates"]))
"""


@needs_torch
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.timeout(3600)  # a minute of computing, however busy the machine is
def test_ten_times_the_frames_need_no_more_memory_unless_frames_are_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(FRAMES)], capture_output=True, text=True, check=True
    )
    kept_nothing, kept_frames, steps, updates = (int(part) for part in done.stdout.split())
    assert (steps, updates) == (FRAMES * 3 // 2, FRAMES * 3 // 2 // 16)
    assert kept_nothing < 5_000_000 < kept_frames, (kept_nothing, kept_frames)
