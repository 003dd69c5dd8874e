"""Sets of inputs that are no pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.sets import CLEAN, load_set
from edge_tta.errors import SourceError
from edge_tta.models import load_model
from tests.cli.commands import assert_one_line_of_advice, call

SHAPE, LABELS = (1, 12, 9), np.array([0, 1, 2, 0, 1, 2, 0, 1])
NET = """
import torch
from torch import nn

INPUT = {"size": (12, 9), "channels": "gray", "mean": 0.5, "std": 0.25}

def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )
"""


def _inputs(seed: int) -> Any:
    return np.random.default_rng(seed).normal(-3, 2, (len(LABELS), *SHAPE)).astype(np.float32)


def _load(path: Path, **arrays: Any) -> Any:
    np.savez(path, **{"labels": LABELS, **arrays})
    return load_set(path, SHAPE[1:], shape=SHAPE)


def test_arrays_are_conditions_as_they_are(tmp_path: Path) -> None:
    data = _load(tmp_path / "set.npz", clean=_inputs(0), babble=_inputs(1).astype(np.float64))
    assert list(data.corruptions) == ["clean", "babble"]
    np.testing.assert_array_equal(data.corruptions["babble"], _inputs(1))
    assert data.corruptions["babble"].dtype == np.float32


def test_inputs_alone_are_clean_and_need_no_axis_for_one_channel(tmp_path: Path) -> None:
    data = _load(tmp_path / "set.npz", inputs=_inputs(0)[:, 0])
    assert list(data.corruptions) == [CLEAN]
    np.testing.assert_array_equal(data.corruptions[CLEAN], _inputs(0))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (_inputs(1)[..., :5], "inputs as the network takes them"),
        (_inputs(1)[:5], "one for each label"),
        (np.where(_inputs(1) == _inputs(1)[3, 0, 2, 2], np.nan, _inputs(1)), "in number 3"),
        (np.zeros((8, 12, 9, 3), np.uint8), "inputs as the network takes them"),
    ],
)
def test_arrays_that_are_no_inputs_are_told(array: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        _load(tmp_path / "set.npz", clean=_inputs(0), babble=array)
    assert "\n" not in str(caught.value)
    assert "babble" in str(caught.value)


def test_the_network_sees_them_without_its_normalisation_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    model = f"{tmp_path / 'net.py'}:make"
    np.savez(tmp_path / "set.npz", clean=_inputs(0), babble=_inputs(1), labels=LABELS)
    result = call(
        *("bench", "error", "--model", model, "--data", tmp_path / "set.npz", "--threads", 1),
        *("--methods", "source,nanoadapt:tent", "--order", "natural,iid,correlated:2,mixed"),
        *("--json", tmp_path / "out.json"),
    )
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "out.json").read_text())["results"]
    assert len(rows) == 16
    network = load_model(model).module
    for seed, name in enumerate(("clean", "babble")):
        with torch.no_grad():
            wrong = network(torch.from_numpy(_inputs(seed))).argmax(1).numpy() != LABELS
        own = [r for r in rows if (r["corruption"], r["label"]) == (name, "source")]
        assert [row["error"] for row in own] == pytest.approx([wrong.mean()] * 4)


def test_streams_of_pictures_are_not_made_of_them(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    np.savez(tmp_path / "set.npz", inputs=_inputs(0), labels=LABELS)
    words = ("--model", f"{tmp_path / 'net.py'}:make", "--data", tmp_path / "set.npz")
    assert_one_line_of_advice(call("bench", "guard", *words), "expected uint8")
