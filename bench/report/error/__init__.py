"""Reports on rows of `bench error`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from bench.error import ErrorRow
from bench.orders import parse_order
from bench.report.checks import Check, are_shares, is_share, is_text, is_whole, latest
from bench.report.document import Section
from bench.report.error.ablation import ablations, by_part
from bench.report.error.accuracy import accuracy
from bench.report.error.batch_sizes import by_batch_size
from bench.report.error.corruptions import by_corruption
from bench.report.error.judge import judge
from bench.report.error.orders import by_order
from bench.report.error.over_time import over_time
from bench.report.error.results import ErrorResults, group, plain_sources, same_fields
from bench.report.error.sensitivity import by_value, series_of
from bench.report.look import Look
from bench.results import ResultError, Row
from edge_tta.errors import ConfigError

_ESTIMATES = ("estimates", "own_estimates", "source_estimates")
_FIELDS: Mapping[str, Check] = {
    **dict.fromkeys(("method", "label", "model", "data", "corruption", "order"), is_text),
    **dict.fromkeys(("severity", "seed"), is_whole),
    **dict.fromkeys(("batch_size", "n"), partial(is_whole, least=1)),
    **dict.fromkeys(("error", "error_low", "error_high"), is_share),
    "by_seed": lambda value: are_shares(value) and bool(value),
    "over_time": are_shares,
    "host": lambda value: True,
    **dict.fromkeys(_ESTIMATES, lambda value: value is None or _are_estimates(value)),
    **dict.fromkeys(
        ("own_over_time", "weight_over_time"), lambda value: value is None or are_shares(value)
    ),
}
_ABSENT = {
    "over_time": (),
    **dict.fromkeys(("falls", "source_share", "own_over_time", "weight_over_time", *_ESTIMATES)),
}
"""Fields that files of earlier versions, or rows without a guard or a filter, do not have."""
_SETTING = ("label", "model", "data", "severity", "order", "batch_size", "corruption")


def sections(rows: Sequence[Row], methods: Mapping[str, Row]) -> list[Section]:
    """Sections on errors.

    Raises:
        ResultError: a row is not as `bench error` writes it.
    """
    checked, replaced = read_rows(rows)
    labels = list(dict.fromkeys(row.label for row in checked))
    look = Look(labels, plain_sources(checked))
    result: list[Section] = []
    for results in group(checked, methods, look):
        hidden = variants(results)
        result += [
            Section(f"Error: {results.title}"),
            by_order(results, hidden),
            *by_batch_size(results, hidden),
            *by_part(results),
            *by_value(results),
            *over_time(results, hidden),
            *accuracy(results),
            *judge(results),
            Section("Error by corruption", level=3),
            *by_corruption(results, hidden),
        ]
    if replaced:
        note = f"{replaced} rows were measured more than once; the last file's count."
        result.append(Section("Measured more than once", [note]))
    return result


def variants(results: ErrorResults) -> list[str]:
    """Labels that an ablation or a sensitivity shows, but for host alone and all parts."""
    shown = {n for own in series_of(results.methods) for n in own.labels.values()}
    ends: set[str] = set()
    for own in ablations(results.methods).values():
        labels = list(own.values())
        shown |= set(labels)
        ends |= {labels[0], labels[-1]}
    # Methods that are called twice are shown once.
    keys = {same_fields(results.methods[label]) for label in shown}
    return [
        label
        for label in results.labels
        if label not in ends and same_fields(results.methods[label]) in keys
    ]


def read_rows(rows: Iterable[Row]) -> tuple[list[ErrorRow], int]:
    """The rows, and how many of them a later row of the same setting replaced by other figures.

    Raises:
        ResultError: a row lacks a field, or has one that it cannot have.
    """
    whole = ({**_ABSENT, **values} for values in rows)
    chosen, replaced = latest("error", whole, _FIELDS, _SETTING)
    return [_row(values) for values in chosen], replaced


def _row(values: Row) -> ErrorRow:
    try:
        parse_order(values["order"])
    except ConfigError as error:
        raise ResultError(f"a row of {values['label']}: {error}") from error
    own = {field.name: values[field.name] for field in dataclasses.fields(ErrorRow)}
    tuples = {name: tuple(own[name]) for name in ("by_seed", "over_time")}
    return ErrorRow(**{**own, **tuples})


def _are_estimates(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_estimate, value))


def _is_estimate(value: Any) -> bool:
    """Tell whether a value is what was, and an estimate of it with its interval, or three None."""
    if not isinstance(value, Sequence) or len(value) != 4:
        return False
    return is_share(value[0]) and (all(v is None for v in value[1:]) or are_shares(value[1:]))
