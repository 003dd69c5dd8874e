from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edge_tta.demo.conditions import CONDITIONS, Frame
from edge_tta.demo.network import SOURCE_GRAPH, RoadSignNet, road_signs
from edge_tta.demo.spec import INPUT, LABELS
from edge_tta.demo.stream import CLEAR, DemoFrame
from edge_tta.errors import ModelError, OutputError
from edge_tta.models.naming import load_model
from edge_tta.prepare import resize
from tests.demo import training

CleanSet = tuple[NDArray[np.uint8], NDArray[np.int64]]


def wrong(network: nn.Module, frames: list[Frame], labels: NDArray[np.int64]) -> float:
    """Error, in [0, 1], over one batch of all frames."""
    images = INPUT.normalise(np.stack([resize(frame, INPUT.size) for frame in frames]))
    with torch.inference_mode():
        guess = network(torch.from_numpy(images)).argmax(1).numpy()
    return float((guess != labels).mean())


@pytest.fixture(scope="module")
def network() -> RoadSignNet:
    return road_signs()


def test_network_is_small_frozen_and_answers_one_logit_a_class(network: RoadSignNet) -> None:
    assert sum(p.numel() for p in network.parameters()) <= 350_000
    assert not any(module.training for module in network.modules())
    assert network(torch.zeros(2, 3, INPUT.size, INPUT.size)).shape == (2, len(LABELS))


def test_at_least_97_percent_of_unseen_clean_frames_are_recognised(
    network: RoadSignNet, clean: CleanSet
) -> None:
    assert wrong(network, list(clean[0]), clean[1]) <= 0.03


def test_the_frozen_network_fails_on_30_percent_of_the_adverse_frames(
    network: RoadSignNet, trip: list[DemoFrame]
) -> None:
    adverse = [seen for seen in trip if seen.condition != CLEAR]
    labels = np.array([seen.label for seen in adverse])
    assert wrong(network, [seen.frame for seen in adverse], labels) >= 0.3


@pytest.mark.parametrize("name", CONDITIONS)
def test_statistics_of_the_condition_lower_the_error(name: str, clean: CleanSet) -> None:
    """The information is still in the picture: a batch of one condition normalises itself."""
    rng = np.random.default_rng(11)
    frames = [CONDITIONS[name](frame, 1.0, rng) for frame in clean[0][:200]]
    labels = clean[1][:200]
    network = road_signs()
    frozen = wrong(network, frames, labels)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    assert frozen > 0.4
    assert wrong(network, frames, labels) < 0.6 * frozen


def test_missing_damaged_and_foreign_graphs_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        road_signs(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="is no ONNX file"):
        road_signs(damaged)
    with pytest.raises(ModelError, match="does not hold the weights of RoadSignNet; reinstall"):
        road_signs(SOURCE_GRAPH.with_name("norm.predict.onnx"))


def test_training_twice_gives_the_same_weights(clean: CleanSet) -> None:
    small = np.stack([resize(frame, INPUT.size) for frame in clean[0][:192]])
    first, second = (
        training.train(small, clean[1][:192], 1, 5, lambda _: None).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_says_how_well_it_went_and_writes_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    assert (
        training.main(["--out", str(path), "--frames", "96", "--epochs", "1", "--threads", "1"])
        == 0
    )
    assert "clean held-out accuracy" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]
    assert not load_model("demo", path).module.training


def test_training_into_no_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no folder .*; create it first"):
        training.main(["--out", str(tmp_path / "none" / "weights")])
