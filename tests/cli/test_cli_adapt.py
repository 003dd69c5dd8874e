"""`edge-tta run --adapt`: beside, where frames would be lost, or before the next frame."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge_tta.cli.run_options import parser
from edge_tta.frames import seems_live
from tests.cli.commands import call

DEMO = ("run", "demo", "--model", "demo", "--backend", "onnx", "--threads", 1)


@pytest.mark.parametrize(
    ("source", "live"),
    [
        ("0", True),
        (" 2 ", True),
        ("/dev/video0", True),
        ("rtsp://host/stream", True),
        ("csi://0", True),
        ("v4l2src ! appsink", True),
        ("clip.mp4", False),
        ("demo", False),
        ("-", False),
        ("folder/", False),
        ("file:///clip.mp4", False),
    ],
)
def test_a_name_tells_whether_frames_would_be_lost(source: str, live: bool) -> None:
    assert seems_live(source) == live


def test_beside_records_say_so_and_the_state_has_what_was_learned(tmp_path: Path) -> None:
    records, state = tmp_path / "r.jsonl", tmp_path / "s.safetensors"
    more = ("--max-frames", 60, "--fps", 60, "--guard", "off", "--jsonl", records, "--state", state)
    result = call(*DEMO, "--adapt", "async", *more)
    assert result.code == 0, result.err
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    assert all(row["why"].startswith("learning beside") for row in rows)
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps)
    assert steps[-1] <= 60
    again = call(*DEMO, "--adapt", "sync", "--max-frames", 1, "--state", state)
    assert again.code == 0, again.err
    resumed = re.search(r"at step (\d+)", again.err)
    assert resumed is not None
    assert int(resumed[1]) >= max(1, steps[-1])


def test_the_demo_and_files_are_learned_from_frame_by_frame(tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    result = call(*DEMO, "--max-frames", 5, "--guard", "off", "--jsonl", records)
    assert result.code == 0, result.err
    steps = [json.loads(line)["step"] for line in records.read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]
    assert parser().parse_args(["demo"]).adapt is None
