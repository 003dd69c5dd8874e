"""Errors of methods on sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.cli.error import error_tables
from bench.error import ErrorRow, measure_error
from bench.methods import parse_methods
from bench.orders import parse_order
from bench.sets import LabelledSet
from edge_tta.adapter import Adapter
from edge_tta.network.program import Program
from edge_tta.prepare import InputSpec
from tests.bench.pictures import pictures
from tests.networks import network

SPEC = InputSpec(size=12)
N = 15
DATA = LabelledSet(
    "some",
    4,
    {name: pictures(seed, N, SPEC.size) for seed, name in enumerate(("fog", "snow", "clean"))},
    np.random.default_rng(0).integers(0, 5, N),
)


@pytest.fixture(scope="module")
def program() -> Program:
    return Adapter(network("plain")).network.program((3, SPEC.size, SPEC.size))


@pytest.mark.parametrize("order", ["iid", "correlated:4", "continual", "mixed"])
def test_source_errs_as_the_network_does_in_every_order(order: str, program: Program) -> None:
    (rows,) = measure_error(
        program, SPEC, DATA, parse_methods("source"), order=parse_order(order), seeds=(3, 4)
    )
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
def test_an_adapted_error_is_that_of_an_adapter_on_the_same_stream(
    below: str, program: Program
) -> None:
    from bench.orders import make_streams

    methods = parse_methods(f"norm+adapt_from={below}" if below else "norm")
    held = Adapter(network("plain")).network
    order = parse_order("iid")
    (rows,) = measure_error(program, SPEC, DATA, methods, order=order, batch_size=4, network=held)
    streams = make_streams(parse_order("iid"), DATA.labels, len(DATA.corruptions), 0)
    for row, stream in zip(rows, streams, strict=True):
        adapter = Adapter(network("plain"), "norm", adapt_from=below)
        frames, wrong = DATA.corruptions[row.corruption], 0
        for start in range(0, N, 4):
            chosen = stream.picture[start : start + 4]
            predicted = adapter(SPEC.normalise(frames[chosen])).argmax(1).numpy()
            wrong += int((predicted != DATA.labels[chosen]).sum())
        assert row.error == pytest.approx(wrong / N)
        assert (row.batch_size, row.method, row.host, row.label) == (4, "norm", None, *methods)


def test_seeds_are_taken_together_and_told_apart(program: Program) -> None:
    def rows_of(*seeds: int) -> list[ErrorRow]:
        methods = parse_methods("norm")
        (rows,) = measure_error(
            program, SPEC, DATA, methods, order=parse_order("iid"), batch_size=2, seeds=seeds
        )
        return rows

    for both, one, two in zip(rows_of(5, 6), rows_of(5), rows_of(6), strict=True):
        assert both.by_seed == (one.error, two.error)
        assert both.error == pytest.approx((one.error + two.error) / 2)
        assert both.n == one.n + two.n


def test_rows_tell_the_host_of_nanoadapt_only(program: Program) -> None:
    methods = parse_methods("nanoadapt:norm,tent")
    found = list(measure_error(program, SPEC, DATA, methods, order=parse_order("mixed")))
    assert [(rows[0].method, rows[0].host) for rows in found] == [
        ("nanoadapt", "norm"),
        ("tent", None),
    ]


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
    first, second = error_tables(rows)
    assert (first.title, second.title) == ("error %, iid, N = 1", "error %, iid, N = 8")
    assert [str(column.header) for column in first.columns] == ["corruption", "tent", "norm"]
    cells = [list(column.cells) for column in first.columns]
    means = [cells[0][2:], cells[1][2:], cells[2][2:]]
    assert [own[:2] for own in cells] == [["fog", "snow"], ["25.0", "50.0"], ["75.0", "-"]]
    assert means[0] == ["mean", "95 % from", "95 % to"]
    assert [own[0] for own in means[1:]] == ["37.5", "75.0"]
    for _, low, high in means[1:]:
        assert 0 <= float(low) < float(high) <= 100
    assert list(second.columns[1].cells) == ["100.0", "100.0", "72.2", "100.0"]
