"""Errors of methods on sets."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bench.cli.error import error_tables
from bench.error import ErrorRow, Runner, Setting, in_processes, measure_error
from bench.error.measure import _estimates
from bench.error.streams import Task
from bench.methods import parse_methods
from bench.orders import make_streams, parse_order
from bench.sets import LabelledSet
from edge_tta.adapter import Adapter
from edge_tta.config import make_config
from edge_tta.errors import ConfigError
from edge_tta.models import Model
from edge_tta.network.source import SourceNetwork
from edge_tta.prepare import InputSpec
from edge_tta.temporal import Accuracy
from tests.bench.pictures import pictures
from tests.networks import network

SPEC = InputSpec(size=12)
MODEL = Model("plain", network("plain"), SPEC)
N = 15
DATA = LabelledSet(
    "some",
    4,
    {name: pictures(seed, N, SPEC.size) for seed, name in enumerate(("fog", "snow", "clean"))},
    np.random.default_rng(0).integers(0, 5, N),
)


@functools.cache
def _runner() -> Runner:
    """On the plain network; processes of their own make it anew."""
    return Runner(SourceNetwork(network("plain"), torch.device("cpu")), MODEL, DATA)


def _measured(methods: str, order: str, **options: Any) -> list[list[ErrorRow]]:
    """Rows by corruption of each method."""
    with in_processes(_runner, 1) as run:
        return list(
            measure_error(run, DATA, parse_methods(methods), Setting(parse_order(order), **options))
        )


@pytest.mark.parametrize("order", ["iid", "correlated:4", "continual", "mixed"])
def test_source_errs_as_the_network_does_in_every_order(order: str) -> None:
    (rows,) = _measured("source", order, seeds=(3, 4))
    assert [row.corruption for row in rows] == list(DATA.corruptions)
    for row in rows:
        images = torch.from_numpy(SPEC.normalise(DATA.corruptions[row.corruption]))
        with torch.no_grad():
            wrong = network("plain")(images).argmax(1).numpy() != DATA.labels
        assert row.error == pytest.approx(wrong.mean())
        assert row.by_seed == pytest.approx((wrong.mean(), wrong.mean()))
        assert row.n == 2 * N
        assert row.error_low < row.error < row.error_high
        assert (row.severity, row.data, row.order, row.seed) == (4, "some", order, 3)


@pytest.mark.parametrize("below", ["", "bn2"])
def test_an_adapted_error_is_that_of_an_adapter_on_the_same_stream(below: str) -> None:
    method = f"norm+adapt_from={below}" if below else "norm"
    (rows,) = _measured(method, "iid", batch_size=4)
    streams = make_streams(parse_order("iid"), DATA.labels, len(DATA.corruptions), 0)
    for row, stream in zip(rows, streams, strict=True):
        adapter = Adapter(network("plain"), "norm", adapt_from=below)
        frames, wrong = DATA.corruptions[row.corruption], 0
        for start in range(0, N, 4):
            chosen = stream.picture[start : start + 4]
            predicted = adapter(SPEC.normalise(frames[chosen])).argmax(1).numpy()
            wrong += int((predicted != DATA.labels[chosen]).sum())
        assert row.error == pytest.approx(wrong / N)
        assert (row.batch_size, row.method, row.host, row.label) == (4, "norm", None, method)


def test_seeds_are_taken_together_and_told_apart() -> None:
    def rows_of(*seeds: int) -> list[ErrorRow]:
        (rows,) = _measured("norm", "iid", batch_size=2, seeds=seeds)
        return rows

    for both, one, two in zip(rows_of(5, 6), rows_of(5), rows_of(6), strict=True):
        assert both.by_seed == (one.error, two.error)
        assert both.error == pytest.approx((one.error + two.error) / 2)
        assert both.n == one.n + two.n


def test_rows_tell_the_host_of_nanoadapt_only() -> None:
    rows = _measured("nanoadapt:norm,tent", "mixed")
    assert [(own[0].method, own[0].host) for own in rows] == [("nanoadapt", "norm"), ("tent", None)]


def test_processes_of_their_own_measure_what_one_measures() -> None:
    methods = parse_methods("norm,nanoadapt:norm+guard")
    streams = make_streams(parse_order("iid"), DATA.labels, len(DATA.corruptions), 0)
    tasks = [
        Task(config, label, stream, 2) for label, config in methods.items() for stream in streams
    ]
    with in_processes(_runner, 1) as run:
        here = list(run(tasks))
    with in_processes(_runner, 2) as run:
        there = list(run(tasks))
    assert len(here) == len(there) == 6
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.wrong, other.wrong)
        assert (one.guarded is None) == (other.guarded is None)
        if one.guarded is not None and other.guarded is not None:
            np.testing.assert_array_equal(one.guarded.weight, other.guarded.weight)
            np.testing.assert_array_equal(one.guarded.own_wrong, other.guarded.own_wrong)
            assert one.guarded.source_frames == other.guarded.source_frames


def test_estimates_of_the_accuracy_stand_beside_what_it_was() -> None:
    plain, filtered = _measured("norm,norm+filter", "still:40")
    assert [row.estimates for row in plain] == [None] * 3
    stream = make_streams(parse_order("still:40"), DATA.labels, 3, 0)[0]
    with in_processes(_runner, 1) as run:
        (outcome,) = run([Task(make_config("norm"), "norm+filter", stream, 1)])
    for row in filtered:
        assert row.estimates is not None
        assert len(row.estimates) == 2
        for was, value, low, high in row.estimates:
            assert value is None or low <= value <= high  # type: ignore[operator]
            assert 0 <= was <= 1  # type: ignore[operator]
    assert list(outcome.estimates) == [300, 600]
    assert filtered[0].estimates is not None
    assert filtered[0].estimates[1][0] == pytest.approx(1 - outcome.wrong[300:].mean())


def test_what_the_guard_holds_stands_beside_what_it_answers() -> None:
    plain, guarded = _measured("norm,norm+guard", "still:40")
    for row, own in zip(plain, guarded, strict=True):
        assert row.own_over_time is None
        assert row.weight_over_time is None
        # On every frame of these streams the adapter adapts, as it does without the guard.
        assert own.own_over_time == row.over_time
        assert own.weight_over_time is not None
        assert len(own.weight_over_time) == len(row.over_time)
        assert all(0 <= weight <= 1 for weight in own.weight_over_time)
        assert own.falls is not None
        assert row.own_estimates is None
        assert row.source_estimates is None


def test_what_the_guard_says_of_both_networks_stands_beside_what_it_was() -> None:
    label = "nanoadapt:norm+guard"
    source, guarded = _measured(f"source,{label}", "still:40")
    row = guarded[0]
    stream = make_streams(parse_order("still:40"), DATA.labels, 3, 0)[0]
    with in_processes(_runner, 1) as run:
        (outcome,) = run([Task(parse_methods(label)[label], label, stream, 1)])
    assert outcome.guarded is not None
    own, of_source = outcome.guarded.own_wrong, outcome.guarded.source_wrong
    ran = np.isfinite(of_source)
    assert int(ran.sum()) == outcome.guarded.source_frames
    assert row.own_estimates is not None
    assert row.source_estimates is not None
    assert row.own_estimates[1][0] == pytest.approx(1 - own[300:].mean())
    assert row.source_estimates[1][0] == pytest.approx(1 - of_source[300:][ran[300:]].mean())
    assert list(outcome.guarded.own_estimates) == [300, 600]
    for made in (*row.own_estimates, *row.source_estimates):
        assert made[1] is None or made[2] <= made[1] <= made[3]  # type: ignore[operator]
    assert source[0].source_estimates is None


def test_estimates_of_what_never_ran_are_left_out() -> None:
    stream = make_streams(parse_order("iid"), DATA.labels, 1, 0)[0]
    wrong = np.r_[np.full(300, np.nan), np.full(299, np.nan), 1.0]
    stream = replace(stream, picture=np.zeros(600, int), corruption=np.zeros(600, int))
    made = [(wrong, {300: Accuracy(0.9, 0.8, 1.0), 600: None})]
    assert _estimates(0, [stream], made) == ((0.0, None, None, None),)
    assert _estimates(1, [stream], made) == ()


def test_a_method_that_needs_images_of_the_source_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fisher_weight needs images of the source.*set it to 0"):
        _measured("eata+fisher_weight=1.0", "iid")


def _row(corruption: str, error: float, label: str = "tent", batch_size: int = 1) -> ErrorRow:
    return ErrorRow(
        "tent",
        None,
        label,
        "net",
        "some",
        corruption,
        5,
        batch_size,
        "iid",
        0,
        10,
        error,
        0.0,
        1.0,
        (error,),
    )


def test_each_setting_has_a_table_with_a_column_a_method() -> None:
    rows = [_row("fog", 0.25), _row("snow", 0.5), _row("fog", 0.75, "norm"), _row("fog", 1, "a", 8)]
    (first, table), (second, other) = error_tables(rows)
    assert (first, second) == ("error %, iid, N = 1", "error %, iid, N = 8")
    assert list(table.header) == ["corruption", "`tent`", "`norm`"]
    *errors, means = table.rows
    assert sorted(errors) == [["fog", "25.0", "75.0"], ["snow", "50.0", ""]]
    assert means[0] == "**mean**"
    for mean, text in zip(("37.5", "75.0"), means[1:], strict=True):
        low, high = re.fullmatch(rf"{mean} \(([\d.]+)-([\d.]+)\).*", text).groups()
        assert 0 <= float(low) < float(mean) < float(high) <= 100
    assert list(other.rows) == [["fog", "100.0"], ["**mean**", "100.0 (72.2-100.0)"]]
