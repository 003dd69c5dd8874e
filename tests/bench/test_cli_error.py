"""`edge-tta bench error` from the command line to the result file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.adapters import adapter_of
from bench.error import streams
from bench.sets import load_set
from edge_tta import Adapter
from edge_tta.config import MethodConfig, make_config
from edge_tta.config.fields import to_fields
from edge_tta.models import load_model
from edge_tta.network.source import SourceNetwork
from tests.bench.pictures import pictures
from tests.cli.commands import Result, assert_one_line_of_advice, call

NET = """
import torch
from torch import nn

INPUT = {"size": 16, "mean": 0.5, "std": 0.25}

def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )
"""
N = 12
METHODS = ("source", "nanoadapt:tent", "nanoadapt:norm+smoothing=0.5")
ORDERS, SIZES, SEEDS = ("iid", "correlated:3"), (1, 4), 2


def _set(path: Path) -> Path:
    labels = np.random.default_rng(0).integers(0, 4, N)
    arrays = {name: pictures(seed, N, 20) for seed, name in ((1, "fog"), (2, "snow"))}
    np.savez(path, allow_pickle=False, **arrays, labels=labels, severity=np.int64(3))
    return path


def _bench(where: Path, *words: object) -> Result:
    (where / "net.py").write_text(NET)
    model = ("--model", f"{where / 'net.py'}:make")
    return call("bench", "error", *model, "--data", _set(where / "tiny.npz"), *words)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, dict[str, Any]]:
    where = tmp_path_factory.mktemp("bench")
    result = _bench(
        *(where, "--methods", ",".join(METHODS), "--order", ",".join(ORDERS)),
        *("--batch-size", "1,4", "--seed", 7, "--seeds", SEEDS, "--json", where / "out.json"),
    )
    assert result.code == 0, result.err
    return where, result, json.loads((where / "out.json").read_text())


def test_there_is_a_row_for_every_method_order_batch_size_and_corruption(
    measured: tuple[Path, Result, dict[str, Any]],
) -> None:
    rows = measured[2]["results"]
    keys = {(r["label"], r["order"], r["batch_size"], r["corruption"]) for r in rows}
    assert len(rows) == len(keys) == len(METHODS) * len(ORDERS) * len(SIZES) * 2
    assert {key[0] for key in keys} == set(METHODS)
    assert {key[1] for key in keys} == set(ORDERS)
    assert {key[2] for key in keys} == set(SIZES)


def test_rows_hold_what_the_schema_says(measured: tuple[Path, Result, dict[str, Any]]) -> None:
    content = measured[2]
    assert content["schema"] == 1
    assert {"processor", "threads", "torch", "commit"} <= set(content["environment"])
    assert content["command"].startswith("edge-tta bench error --model ")
    for row in content["results"]:
        assert {"method", "host", "corruption", "severity", "batch_size", "order", "n"} <= set(row)
        assert 0 <= row["error_low"] <= row["error"] <= row["error_high"] <= 1
        assert row["error"] == pytest.approx(np.mean(row["by_seed"]), abs=1e-6)
        assert (row["n"], len(row["by_seed"])) == (N * SEEDS, SEEDS)
        assert (row["model"], row["data"], row["severity"]) == ("net.py:make", "tiny", 3)
        assert row["seed"] == 7
        assert row["host"] == {"nanoadapt:tent": "tent"}.get(
            row["label"], "norm" if row["method"] == "nanoadapt" else None
        )


def test_the_file_holds_every_field_of_every_method(
    measured: tuple[Path, Result, dict[str, Any]],
) -> None:
    methods = measured[2]["methods"]
    assert set(methods) == set(METHODS) == {row["label"] for row in measured[2]["results"]}
    expected = to_fields(make_config("nanoadapt", "norm", smoothing=0.5))
    assert methods["nanoadapt:norm+smoothing=0.5"] == expected


def test_the_error_of_source_is_the_network_s(
    measured: tuple[Path, Result, dict[str, Any]],
) -> None:
    where, _, content = measured
    model = load_model(f"{where / 'net.py'}:make")
    data = load_set(where / "tiny.npz", model.input.size)
    for row in content["results"]:
        if row["label"] == "source":
            images = model.input.normalise(data.corruptions[row["corruption"]])
            with torch.no_grad():
                wrong = model.module(torch.from_numpy(images)).argmax(1).numpy() != data.labels
            assert row["error"] == pytest.approx(wrong.mean(), abs=1e-6)


def test_the_table_shows_corruptions_and_their_mean(
    measured: tuple[Path, Result, dict[str, Any]],
) -> None:
    out, err = measured[1].out, measured[1].err
    assert out.startswith("error %")
    assert all(name in out for name in ("fog", "snow", "mean"))
    for label in METHODS:
        assert f"correlated:3, N=4, {label}: " in err


def test_a_second_run_measures_the_same(tmp_path: Path) -> None:
    words = ("--methods", "nanoadapt:tent+views=2+accumulation=2", "--order", "mixed")
    results = []
    for name in ("one.json", "two.json"):
        assert _bench(tmp_path, *words, "--json", tmp_path / name).code == 0
        results.append(json.loads((tmp_path / name).read_text())["results"])
    assert results[0] == results[1]


def test_bundles_measure_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--methods", "source,norm,nanoadapt:norm+filter,nanoadapt:tent+guard", "--json")
    errors = {}
    for backend in ("torch", "onnx"):
        file = tmp_path / f"{backend}.json"
        if backend == "onnx":
            monkeypatch.setattr(streams, "adapter_of", _source_only)
        assert _bench(tmp_path, *words, file, "--backend", backend).code == 0
        rows = json.loads(file.read_text())["results"]
        errors[backend] = {(row["label"], row["corruption"]): row["error"] for row in rows}
    assert errors["onnx"].keys() == errors["torch"].keys()
    # Rounding may decide which of two classes is ahead: one frame of twelve.
    for key, error in errors["torch"].items():
        assert errors["onnx"][key] == pytest.approx(error, abs=1.5 / N)


def _source_only(network: SourceNetwork, config: MethodConfig, *words: Any) -> Adapter:
    assert config.method == "source", "PyTorch runs a method that a bundle was asked for"
    return adapter_of(network, config, *words)


def test_bundles_are_for_one_frame_at_a_time(tmp_path: Path) -> None:
    result = _bench(tmp_path, "--methods", "norm", "--backend", "onnx", "--batch-size", "4")
    assert_one_line_of_advice(result)
    assert "one frame at a time" in result.err


def test_corruptions_and_limit_choose(tmp_path: Path) -> None:
    words = ("--methods", "norm", "--corruptions", "snow", "--limit", 5, "--json")
    assert _bench(tmp_path, *words, tmp_path / "out.json").code == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert (row["corruption"], row["n"]) == ("snow", 5)


def test_drift_takes_its_frames_from_all_severities_beside_another_order(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    np.savez(tmp_path / "set.npz", images=pictures(1, N, 20), labels=np.arange(N) % 4)
    made = call(
        "corrupt", tmp_path / "set.npz", tmp_path / "C", "--severity", "all",
        "--corruption", "clean,contrast",
    )  # fmt: skip
    assert made.code == 0, made.err
    result = call(
        "bench", "error", "--model", f"{tmp_path / 'net.py'}:make", "--data", tmp_path / "C",
        "--methods", "norm", "--order", "iid,drift", "--json", tmp_path / "out.json",
    )  # fmt: skip
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [(r["order"], r["corruption"], r["severity"], r["n"]) for r in rows] == [
        ("iid", "clean", 5, N), ("iid", "contrast", 5, N), ("drift", "contrast", 0, N),
    ]  # fmt: skip


def test_drift_on_a_set_of_one_severity_is_told(tmp_path: Path) -> None:
    result = _bench(tmp_path, "--methods", "norm", "--order", "drift")
    assert_one_line_of_advice(result, "drift needs the severities 1 to 5", "--severity all")


def test_a_corruption_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = _bench(tmp_path, "--methods", "norm", "--corruptions", "rain")
    assert_one_line_of_advice(result, "has no rain; it has fog, snow")


def test_a_result_file_that_cannot_be_written_is_told_before_measuring(tmp_path: Path) -> None:
    """A measurement takes hours; its file must not be found impossible only then."""
    result = _bench(tmp_path, "--methods", "norm", "--json", tmp_path / "gone" / "out.json")
    assert_one_line_of_advice(result, "gone")


def test_a_method_of_wrong_syntax_is_told_before_anything_is_read(tmp_path: Path) -> None:
    result = _bench(tmp_path, "--methods", "tent+preset=paper")
    assert_one_line_of_advice(result, "preset")


def test_labels_that_the_network_cannot_predict_are_told(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    np.savez(tmp_path / "other.npz", fog=pictures(1, 3, 20), labels=np.array([0, 4, 1]))
    words = ("--model", f"{tmp_path / 'net.py'}:make", "--data", tmp_path / "other.npz")
    result = call("bench", "error", *words, "--methods", "source")
    assert_one_line_of_advice(result, "label 4", "4 classes")


def test_what_masks_alone_have_is_told(tmp_path: Path) -> None:
    for words in (("--stride", 2), ("--ignore", 3)):
        result = _bench(tmp_path, "--methods", "source", *words)
        assert_one_line_of_advice(result, "--stride and --ignore are of masks and boxes")


def test_names_of_other_classes_are_told(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\nowl\n")
    result = _bench(tmp_path, "--methods", "norm", "--labels", tmp_path / "names.txt")
    assert_one_line_of_advice(result, "3 class names", "4 outputs")


def test_a_device_is_no_result_file(tmp_path: Path) -> None:
    """The finished file is renamed, which would replace it."""
    result = _bench(tmp_path, "--methods", "norm", "--json", "/dev/null")
    assert_one_line_of_advice(result, "/dev/null", "not an ordinary file")


def test_a_report_comes_straight_after_the_run(tmp_path: Path) -> None:
    words = ("--methods", "source,ablation:tent", "--batch-size", "1,4", "--threads", 1, "--json")
    result = _bench(tmp_path, *words, tmp_path / "out.json", "--report", tmp_path / "report")
    assert result.code == 0, result.err
    page = (tmp_path / "report" / "report.md").read_text()
    assert "### Ablation, host tent" in page
    assert (tmp_path / "report" / "batch-size-iid.png").stat().st_size > 10_000
    # The same as from the file, later.
    again = call("bench", "report", tmp_path / "out.json", "--out", tmp_path / "again")
    assert again.code == 0, again.err
    assert (tmp_path / "again" / "report.md").read_text() == page


def test_a_report_needs_no_result_file(tmp_path: Path) -> None:
    result = _bench(tmp_path, "--methods", "norm", "--report", tmp_path / "report")
    assert result.code == 0, result.err
    assert "`this run`" in (tmp_path / "report" / "report.md").read_text()


def test_a_report_that_cannot_be_written_is_told_before_measuring(tmp_path: Path) -> None:
    result = _bench(tmp_path, "--methods", "norm", "--report", tmp_path / "net.py")
    assert_one_line_of_advice(result, "it is a file")


def test_what_was_measured_before_an_interruption_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.cli.error as command

    measure = command.measure_error

    def interrupted(*args: Any, **options: Any) -> Any:
        rows = measure(*args, **options)
        yield next(rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure_error", interrupted)
    (tmp_path / "net.py").write_text(NET)
    result = call(
        "bench", "error", "--model", f"{tmp_path / 'net.py'}:make",
        "--data", str(_set(tmp_path / "set.npz")), "--methods", "source,norm", "--threads", "1",
        "--json", str(tmp_path / "out.json"),
    )  # fmt: skip
    assert result.code == 130
    rows = json.loads((tmp_path / "out.json").read_text())["results"]
    assert {row["label"] for row in rows} == {"source"}
