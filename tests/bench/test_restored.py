"""Networks that come back from an ONNX file with their BatchNorms folded, beside themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.report.restored import score_tables
from bench.restored.variants import variants
from bench.untrained import untrained
from tests.bench.pictures import pictures
from tests.cli.commands import assert_one_line_of_advice, call

NET = """
import torch
from torch import nn

INPUT = {"size": 12, "mean": 0.5, "std": 0.25}

def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )
"""
EVERY = (
    *("resnet18", "resnet50", "mobilenet_v2", "shufflenet_v2_x1_0", "efficientnet_b0"),
    *("regnet_y_400mf", "densenet121", "googlenet", "inception_v3", "mnasnet1_0", "maxvit_t"),
    *("efficientnet_v2_s", "vgg11_bn", "resnext50_32x4d"),
)
"""Networks that are tried with EDGE_TTA_EVERY_NETWORK set: minutes, and gigabytes."""
SIDES = {"maxvit_t": 224, "inception_v3": 299}
"""Sides of images, where 96 is not taken, or so small that rounding alone differs by 5e-5."""


def sources(folder: Path, side: int, count: int = 8) -> str:
    path = folder / "good.npz"
    np.savez(path, pictures=pictures(0, count, side))
    return str(path)


@pytest.mark.parametrize(
    "name",
    [
        "shufflenet_v2_x0_5",
        "mobilenet_v3_small",
        *(
            pytest.param(
                name,
                marks=pytest.mark.skipif(
                    "EDGE_TTA_EVERY_NETWORK" not in os.environ,
                    reason="EDGE_TTA_EVERY_NETWORK is not set",
                ),
            )
            for name in EVERY
        ),
    ],
)
def test_a_classifier_of_torchvision_comes_back_and_is_captured(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    side = SIDES.get(name, 96)
    model = untrained(f"torchvision:{name}", side).with_task("classify")
    trained, restored = variants(model, sources(tmp_path, side), [8], tmp_path)
    assert restored.difference < 1e-4
    assert restored.sites >= trained.sites


def test_the_command_measures_both_and_writes_rows(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    labels = np.random.default_rng(0).integers(0, 4, 10)
    np.savez(tmp_path / "tiny.npz", fog=pictures(1, 10, 12), labels=labels)
    out = tmp_path / "out.json"
    words = ("bench", "restored", "--model", f"{tmp_path / 'net.py'}:make", "--json", out)
    frames = ("--source-frames", sources(tmp_path, 12, 12))
    done = call(
        *(*words, *frames, "--counts", "12,8", "--data", tmp_path / "tiny.npz"),
        *("--methods", "source,nanoadapt:norm", "--order", "iid,correlated:2"),
    )
    assert done.code == 0, done.err
    rows = json.loads(out.read_text())["results"]
    scores = [row for row in rows if "error" in row]
    assert {(row["source_frames"], row["label"], row["order"]) for row in scores} == {
        (count, label, order)
        for count in (0, 12, 8)
        for label in ("source", "nanoadapt:norm")
        for order in ("iid", "correlated:2")
    }
    of_source = {row["error"] for row in scores if row["label"] == "source"}
    assert len(of_source) == 1  # the function is the same
    assert {row["sites"] for row in rows if "sites" in row} == {1}
    same = call(
        *(*words[:-1], tmp_path / "onnx.json", *frames, "--counts", "12,8", "--backend", "onnx"),
        *("--data", tmp_path / "tiny.npz", "--methods", "source,nanoadapt:norm"),
    )
    assert same.code == 0, same.err
    of_bundles = json.loads((tmp_path / "onnx.json").read_text())["results"]
    assert [row["error"] for row in of_bundles if "error" in row] == [
        pytest.approx(row["error"], abs=0.15) for row in scores if row["order"] == "iid"
    ]
    ((title, table),) = score_tables(rows)
    assert (title, table.header[2:]) == ("error %", ["as trained", "from 12", "from 8"])
    report = call("bench", "report", out, "--out", tmp_path / "report")
    assert report.code == 0, report.err
    assert "restored from ONNX" in (tmp_path / "report" / "report.md").read_text()
    assert_one_line_of_advice(call(*words), "--source-frames is missing")
