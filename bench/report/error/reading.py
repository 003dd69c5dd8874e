"""Error rows of result files, checked and without doubles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from bench.error import ErrorRow
from bench.orders import parse_order
from bench.results import ResultError
from edge_tta.errors import ConfigError

_TEXTS = ("method", "label", "model", "data", "corruption", "order")
_WHOLE = ("severity", "batch_size", "seed", "n")
_SHARES = ("error", "error_low", "error_high")
_OF_GUARD = ("falls", "source_share")
"""Only where a guard was."""


def read_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[list[ErrorRow], int]:
    """The rows, and how many of them a later row of the same setting replaced by other figures.

    Raises:
        ResultError: a row lacks a field, or has one that it cannot have.
    """
    found: dict[tuple[object, ...], ErrorRow] = {}
    replaced = 0
    for values in rows:
        row = _row(values)
        key = (
            *(row.label, row.model, row.data, row.severity),
            *(row.order, row.batch_size, row.corruption),
        )
        replaced += key in found and found[key] != row
        found[key] = row
    return list(found.values()), replaced


def _row(values: Mapping[str, Any]) -> ErrorRow:
    try:
        for name in _TEXTS:
            _check(isinstance(values[name], str), name, values)
        for name in _WHOLE:
            least = 1 if name in ("batch_size", "n") else 0
            _check(_is_number(values[name], int) and values[name] >= least, name, values)
        for name in _SHARES:
            _check(_is_share(values[name]), name, values)
        seeds = values["by_seed"]
        fine = isinstance(seeds, list | tuple) and bool(seeds) and all(map(_is_share, seeds))
        _check(fine, "by_seed", values)
        parse_order(values["order"])
        names = [field.name for field in dataclasses.fields(ErrorRow)]
        # Files of earlier versions have no error over time; what the guard did has no row without.
        given = {"over_time": (), **dict.fromkeys(_OF_GUARD), **values}
        chosen = {name: given[name] for name in names}
        times = chosen["over_time"]
        fine = isinstance(times, list | tuple) and all(map(_is_share, times))
        _check(fine, "over_time", given)
    except KeyError as error:
        raise ResultError(
            f"a row of {values.get('label', 'no label')} has no {error.args[0]}; expected the rows "
            "that edge-tta bench error writes: measure again"
        ) from error
    except ConfigError as error:
        raise ResultError(f"a row of {values['label']}: {error}") from error
    tuples = {name: tuple(chosen[name]) for name in ("by_seed", "over_time")}
    return ErrorRow(**{**chosen, **tuples})


def _check(fine: bool, name: str, values: Mapping[str, Any]) -> None:
    if not fine:
        raise ResultError(
            f"a row of {values.get('label')} has {name} {values[name]!r}; expected the rows that "
            "edge-tta bench error writes, errors from 0 to 1: measure again"
        )


def _is_number(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_number(value, (int, float)) and 0 <= value <= 1
