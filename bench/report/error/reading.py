"""Error rows of result files, checked and without doubles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import partial

from bench.error import ErrorRow
from bench.orders import parse_order
from bench.report.checks import Check, are_shares, is_share, is_text, is_whole, latest
from bench.results import ResultError, Row
from edge_tta.errors import ConfigError

_FIELDS: Mapping[str, Check] = {
    **dict.fromkeys(("method", "label", "model", "data", "corruption", "order"), is_text),
    **dict.fromkeys(("severity", "seed"), is_whole),
    **dict.fromkeys(("batch_size", "n"), partial(is_whole, least=1)),
    **dict.fromkeys(("error", "error_low", "error_high"), is_share),
    "by_seed": lambda value: are_shares(value) and bool(value),
    "over_time": are_shares,
    "host": lambda value: True,
}
_ABSENT = {"over_time": (), "falls": None, "source_share": None}
"""Fields that files of earlier versions, or rows without a guard, do not have."""
_SETTING = ("label", "model", "data", "severity", "order", "batch_size", "corruption")


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
