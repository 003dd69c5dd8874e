"""`edge-tta bench error` of segmenters and detectors, and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.adapters import adapter_of
from bench.dense import measure
from bench.report.dense import MEAN, score_table
from edge_tta import Adapter
from tests.cli.commands import Result, assert_one_line_of_advice, call

NETWORK = """
from torch import nn
TASK = "segment"
INPUT = {"size": (24, 32)}
def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1)
    )
"""


DETECTOR = """
import torch
from torch import nn
INPUT = {"size": 32}
def decode(outputs):
    return [(torch.tensor([[0.1, 0.1, 0.6, 0.6]]), o.sigmoid().amax()[None], [0]) for o in outputs]
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3))
"""


def _detect(folder: Path, *words: object) -> Result:
    """What `bench error` says of a detector on three pictures."""
    (folder / "detector.py").write_text(DETECTOR)
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    box, ends = np.array([[0.1, 0.1, 0.6, 0.6]] * 3), np.arange(4)
    np.savez(folder / "boxes.npz", images=images, box=box, label=np.zeros(3, int), box_off=ends)
    model = f"{folder / 'detector.py'}:network"
    return call("bench", "error", "--model", model, "--data", folder / "boxes.npz", *words)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a measurement, and what the command said."""
    folder = tmp_path_factory.mktemp("dense")
    (folder / "net.py").write_text(NETWORK)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1)
    )
    torch.save(network.state_dict(), folder / "net.pt")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "set.npz",
        images=rng.integers(0, 255, (3, 24, 32, 3), np.uint8),
        masks=rng.integers(0, 3, (3, 24, 32), np.uint8),
    )
    result = call(
        *("bench", "error", "--model", f"{folder / 'net.py'}:network"),
        *("--weights", folder / "net.pt"),
        *("--data", folder / "set.npz", "--methods", "source,nanoadapt:norm,nanoadapt:norm+guard"),
        *("--corruptions", "clean,fog:3,contrast:2", "--json", folder / "set.json"),
        *("--report", folder / "report"),
    )
    return folder, result


def test_a_segmenter_has_a_score_a_corruption_and_a_report(measured: tuple[Path, Result]) -> None:
    folder, result = measured
    assert result.code == 0, result.err
    rows = json.loads((folder / "set.json").read_text())["results"]
    assert len(rows) == 9
    assert "mean of corruptions" in result.out
    page = (folder / "report" / "report.md").read_text()
    fog = next(row for row in rows if row["corruption"] == "fog" and row["label"] == "source")
    assert f"| fog 3 | {fog['miou']:.3f} |" in page
    assert (folder / "report" / "net.py-network-set-miou.png").is_file()


def test_peers_are_of_classifiers(measured: tuple[Path, Result]) -> None:
    folder = measured[0]
    result = call(
        *("bench", "error", "--model", f"{folder / 'net.py'}:network"),
        *("--weights", folder / "net.pt", "--data", folder / "set.npz", "--peers", "tent-stock"),
    )
    assert (result.code, result.out) == (1, "")
    assert "peers are of classifiers; leave --peers out" in result.err


def test_bundles_are_not_measured_in_silence_by_pytorch(measured: tuple[Path, Result]) -> None:
    folder = measured[0]
    result = call(
        *("bench", "error", "--model", f"{folder / 'net.py'}:network", "--backend", "onnx"),
        *("--weights", folder / "net.pt", "--data", folder / "set.npz", "--methods", "norm"),
    )
    assert_one_line_of_advice(result)
    assert "leave --backend out" in result.err


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("norm,tent", ("tent trains by a loss on classes", "use --methods norm")),
        ("norm,nanoadapt:tent+guard", ("no loss to train by", "nanoadapt:norm in --methods")),
        ("norm,nanoadapt:norm+filter", ("one class a frame", "leave +filter out of --methods")),
    ],
)
def test_a_method_that_a_task_has_not_is_told_before_another_is_measured(
    methods: str, said: tuple[str, ...], tmp_path: Path
) -> None:
    result = _detect(tmp_path, "--methods", methods)
    assert_one_line_of_advice(result, *said)


def test_the_usual_methods_are_those_that_the_task_has(tmp_path: Path) -> None:
    result = _detect(tmp_path, "--json", tmp_path / "out.json")
    assert result.code == 0, result.err
    document = json.loads((tmp_path / "out.json").read_text())
    assert list(document["methods"]) == ["source", "norm", "nanoadapt:norm"]
    assert [row["label"] for row in document["results"]] == list(document["methods"])


@pytest.mark.parametrize(
    "words", [("--order", "iid"), ("--seeds", 2), ("--batch-size", 4), ("--ignore", 1)]
)
def test_what_boxes_are_not_measured_in_is_told(words: tuple[object, ...], tmp_path: Path) -> None:
    result = _detect(tmp_path, "--methods", "source", *words)
    assert_one_line_of_advice(result, str(words[0]), "out")


def test_activations_are_saved_as_asked(
    measured: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(*words: Any) -> Adapter:
        asked.append(words[3].saved)
        return adapter_of(*words)

    monkeypatch.setattr(measure, "adapter_of", noted)
    folder = measured[0]
    words = ("--methods", "tent", "--order", "natural")
    for more in ((), ("--saved", "int8")):
        result = call(
            *("bench", "error", "--model", f"{folder / 'net.py'}:network", *words, *more),
            *("--weights", folder / "net.pt", "--data", folder / "set.npz"),
        )
        assert result.code == 0, result.err
    assert asked == ["stock", "int8"]


def test_outputs_that_nobody_explains_have_no_error(tmp_path: Path) -> None:
    result = _detect(tmp_path, "--task", "features", "--methods", "source")
    assert_one_line_of_advice(result, "no error to measure", "--task classify, segment or detect")


def test_the_mean_leaves_clean_out_and_what_is_won_back_is_of_what_source_lost() -> None:
    scores = {"source": (0.6, 0.2, 0.4), "ours": (0.5, 0.3, 0.5)}
    streams = (("clean", 0), ("fog", 3), ("snow", 3))
    rows = [
        {"method": label, "label": label, "corruption": name, "severity": level, "map50": score}
        for label, own in scores.items()
        for (name, level), score in zip(streams, own, strict=True)
    ]
    lines = {line[0]: line[1:] for line in score_table(rows, "map50").rows}
    assert lines[MEAN] == ["0.300", "0.400"]
    assert lines["won back"] == ["", "33 %"]


@pytest.mark.parametrize(("field", "value"), [("miou", 1.5), ("severity", "three"), ("model", 3)])
def test_a_row_that_was_not_written_by_it_is_refused_in_one_line(
    field: str, value: object, measured: tuple[Path, Result], tmp_path: Path
) -> None:
    document = json.loads((measured[0] / "set.json").read_text())
    document["results"][0][field] = value
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(document))
    result = call("bench", "report", file, "--out", tmp_path / "out")
    assert_one_line_of_advice(result)
    assert field in result.err
