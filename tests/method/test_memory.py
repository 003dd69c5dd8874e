"""Memory over a long stream."""

from __future__ import annotations

import subprocess
import sys

import pytest

# frames, and bytes to keep of each: what the test must notice.
CASES = {"nothing": (6_000, 0), "10 kB a frame": (3_000, 10_000)}

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
images, kept = torch.randn(50, 1, 3, 6, 6), []

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

for frame in range(int(sys.argv[1])):
    adapter(images[frame % 50])
    kept.append(bytearray(b"x" * int(sys.argv[2])))
    if frame == int(sys.argv[1]) // 10:
        start = resident()
print(resident() - start, adapter.steps, int(adapter.state["opt.updates"]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kept", CASES)
@pytest.mark.timeout(3600)  # minutes of computing, however busy the machine is
def test_ten_times_the_frames_need_no_more_memory_unless_frames_are_kept(kept: str) -> None:
    frames, size = CASES[kept]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(frames), str(size)],
        capture_output=True,
        text=True,
        check=True,
    )
    growth, steps, updates = (int(part) for part in done.stdout.split())
    assert (steps, updates) == (frames, frames // 16)
    assert (growth > 5_000_000) == (size > 0), growth
