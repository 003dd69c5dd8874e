"""`edge-tta bench guard` and `METHOD+guard`: the streams, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.adapters import adapter_of
from bench.error import Runner
from bench.error.streams import Task
from bench.guard.streams import AROUND, STREAMS, SWITCH_EVERY, make_stream
from bench.methods import is_guarded, parse_methods
from bench.orders import Stream
from bench.report.document import Table
from bench.report.runs import guard_sections
from bench.sets import LabelledSet
from edge_tta.config import make_config
from edge_tta.engines.base import Backward
from edge_tta.errors import ConfigError, SourceError
from edge_tta.guard import Guard
from edge_tta.models import Model
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec
from edge_tta.temporal import Filtered
from tests.bench.test_cli_error import NET
from tests.cli.commands import Result, assert_one_line_of_advice, call
from tests.networks import network

N = 2 * AROUND
_RNG = np.random.default_rng(0)
ARRAYS = {
    name: _RNG.integers(low, high, (N, 16, 16, 3), np.uint8)
    for name, low, high in (("clean", 0, 256), ("fog", 150, 256))
}
LABELS = _RNG.integers(0, 4, N)
DATA = LabelledSet("tiny", 5, ARRAYS, LABELS)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_its_parts_and_the_pictures_around_come_once(name: str) -> None:
    parts = make_stream(name, "fog", DATA, 130, 1, before=True)
    assert [part.name for part in parts] == ["before", "during", "after"]
    before, during, after = parts
    assert len(during.pictures) == 130
    both = np.concatenate([before.pictures, after.pictures]).reshape(N, -1)
    assert len(np.unique(both, axis=0)) == N
    assert (during.labels is None) == (name in ("noise", "black"))
    cold = make_stream(name, "fog", DATA, 130, 1, before=False)
    assert [part.name for part in cold] == ["during", "after"]
    assert np.array_equal(cold[0].pictures, during.pictures)


def test_during_is_what_the_name_says() -> None:
    def during(name: str) -> Any:
        return make_stream(name, "fog", DATA, 130, 1, before=False)[0]

    assert set(during("one-class").labels) == {1}
    assert not during("black").pictures.any()
    noise = during("noise").pictures
    assert (noise.min(), noise.max()) == (0, 255)
    assert abs(noise.mean() - 127.5) < 1
    dark = during("switching").pictures.min((1, 2, 3)) < 150  # clean, not fog
    runs = np.array_split(dark, range(SWITCH_EVERY, 130, SWITCH_EVERY))
    assert all(len(set(run.tolist())) == 1 for run in runs)
    harsh = during("high-contrast").pictures
    assert np.mean((harsh == 0) | (harsh == 255)) > 0.4


def test_a_set_that_is_too_small_is_refused() -> None:
    small = LabelledSet("small", 5, {"fog": ARRAYS["fog"][:50]}, LABELS[:50])
    with pytest.raises(SourceError, match=f"need {N}"):
        make_stream("black", "fog", small, 10, 0, before=True)


def test_guard_is_part_of_a_methods_name_and_changes_no_field() -> None:
    methods = parse_methods("tent,tent+guard,nanoadapt:norm@edge+smoothing=0.5+guard")
    assert [is_guarded(label) for label in methods] == [False, True, True]
    assert methods["tent"] == methods["tent+guard"]
    with pytest.raises(ConfigError, match="needs no guard"):
        parse_methods("source+guard")


def _bench(where: Path, kind: str, *words: object) -> Result:
    (where / "net.py").write_text(NET)
    np.savez(where / "tiny.npz", allow_pickle=False, **ARRAYS, labels=LABELS, severity=np.int64(5))
    given = ("--model", f"{where / 'net.py'}:make", "--data", where / "tiny.npz")
    return call("bench", kind, *given, *words)


def test_bench_guard_writes_a_row_for_each_part_and_a_broken_method_falls_back(
    tmp_path: Path,
) -> None:
    wild = ("tent+learning_rate=1.0", "tent+learning_rate=1.0+guard")
    result = _bench(
        *(tmp_path, "guard", "--methods", ",".join(("source", *wild)), "--streams", "black"),
        *("--frames", 60, "--json", tmp_path / "out.json"),
    )
    assert result.code == 0, result.err
    written = json.loads((tmp_path / "out.json").read_text())
    rows = {(row["label"], row["part"]): row for row in written["results"]}
    assert len(rows) == len(written["results"]) == 9
    for row in rows.values():
        known = row["part"] != "during"
        assert row["n"] == (AROUND if known else 60)
        assert (row["stream_error"] is not None) == known
        assert len(row["along"]) == (4 if known else 0)
        if known:
            assert np.isclose(np.mean(row["along"]), row["stream_error"])
        assert (row["falls"] is None) == (row["label"] != wild[1])
    guarded = [rows[wild[1], part] for part in ("before", "during", "after")]
    assert sum(row["falls"] for row in guarded) >= 1
    assert written["methods"][wild[1]]["guard"] is True


def test_bench_error_has_what_the_guard_did_and_cost(tmp_path: Path) -> None:
    methods = "nanoadapt:norm,nanoadapt:norm+guard"
    result = _bench(
        *(tmp_path, "error", "--methods", methods, "--limit", 60, "--corruptions", "fog"),
        *("--order", "iid,continual", "--batch-size", "1,4", "--json", tmp_path / "out.json"),
    )
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "out.json").read_text())["results"]
    by_case = {(row["label"], row["order"], row["batch_size"]): row for row in rows}
    for order, size in (("iid", 1), ("iid", 4), ("continual", 1), ("continual", 4)):
        plain, guarded = (by_case[label, order, size] for label in methods.split(","))
        assert guarded["falls"] >= 0
        assert 0 < guarded["source_share"] <= 1
        assert "falls" not in plain


def test_unknown_streams_and_pictures_are_told_in_one_line(tmp_path: Path) -> None:
    assert_one_line_of_advice(_bench(tmp_path, "guard", "--streams", "rain"), "rain", "one-class")
    assert_one_line_of_advice(_bench(tmp_path, "guard", "--base", "hail"), "hail", "clean, fog")


def test_a_report_has_a_line_for_each_stream_and_method() -> None:
    common = {"model": "net", "stream": "noise", "base": "fog", "seed": 0}
    rows = [
        {**common, "label": label, "part": part, "n": 400, "stream_error": error, "along": along,
         "falls": falls, "source_share": share}
        for label, falls, share in (("tent", None, None), ("tent+guard", 1, 0.25))
        for part, error, along in (("during", None, ()), ("after", 0.25, (0.4, 0.4, 0.1, 0.1)))
    ]  # fmt: skip
    (section,) = guard_sections(rows, {})
    table = section.parts[1]
    assert isinstance(table, Table)
    assert table.rows == [
        ["noise", "fog", "`tent`", "-", "-", "25.0", "10.0", "", ""],
        ["noise", "fog", "`tent+guard`", "-", "-", "25.0", "10.0", "2", "25 %"],
    ]


def _runner(source: SourceNetwork, spec: InputSpec) -> Runner:
    return Runner(source, Model("plain", network("plain"), spec), DATA)


@pytest.mark.parametrize("size", [1, 3])
def test_a_guarded_stream_is_that_of_a_guard_around_an_adapter(size: int) -> None:
    """With parameters that run away, so that the guard falls, tries and returns."""
    config = make_config("tent", optimizer="sgd", learning_rate=3.0)
    network_of = SourceNetwork(network("plain"), torch.device("cpu"))
    spec = InputSpec(size=16, mean=(0.5,), std=(0.25,))
    stream = Stream(np.full(240, 1), np.random.default_rng(0).permutation(N)[:240])
    outcome = _runner(network_of, spec)(Task(config, "tent+guard", stream, size))
    guard, wrong = Guard(adapter_of(network_of, config, spec, Backward("stock"))), []
    for start in range(0, 240, size):
        chosen = stream.picture[start : start + size]
        predicted = guard(spec.normalise(ARRAYS["fog"][chosen])).argmax(1).numpy()
        wrong += (predicted != LABELS[chosen]).tolist()
    assert outcome.wrong.tolist() == wrong
    assert outcome.guarded is not None
    assert outcome.guarded.falls == guard.falls > 0
    assert outcome.guarded.source_frames == guard.source_frames


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("label", ["source+filter", "norm+filter", "norm+guard+filter"])
def test_a_filtered_stream_is_that_of_a_filter_around_an_adapter(label: str, size: int) -> None:
    config = make_config(label.split("+")[0])
    network_of = SourceNetwork(network("plain"), torch.device("cpu"))
    spec = InputSpec(size=16, mean=(0.5,), std=(0.25,))
    stream = Stream(np.full(120, 1), np.argsort(LABELS, kind="stable")[:120])
    outcome = _runner(network_of, spec)(Task(config, label, stream, size))
    adapter = adapter_of(network_of, config, spec, Backward("stock"))
    inner, wrong = Guard(adapter) if "guard" in label else adapter, []
    filtered = Filtered(inner, of_source=config.method == "source")
    for start in range(0, 120, size):
        chosen = stream.picture[start : start + size]
        predicted = filtered(spec.normalise(ARRAYS["fog"][chosen])).argmax(1).numpy()
        wrong += (predicted != LABELS[chosen]).tolist()
    assert outcome.wrong.tolist() == wrong
