"""Checks of rows of result files: fields that are there, with values that they can have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from bench.results import ResultError, Row

Check = Callable[[Any], bool]
_PERCENTILES = ("p50", "p90", "p99", "mean")


def check_row(command: str, row: Row, fields: Mapping[str, Check]) -> None:
    """Refuses a row that `edge-tta bench COMMAND` cannot have written.

    Raises:
        ResultError: a field is missing, or its check fails.
    """
    for name, fine in fields.items():
        if name not in row:
            what = f"has no {name}"
        elif not fine(row[name]):
            what = f"has {name} {row[name]!r}"
        else:
            continue
        raise ResultError(
            f"a row of {row.get('label', 'no label')} {what}; expected the rows that edge-tta "
            f"bench {command} writes, errors from 0 to 1: measure again"
        )


def latest(
    command: str, rows: Iterable[Row], fields: Mapping[str, Check], setting: Sequence[str]
) -> tuple[list[Row], int]:
    """The rows, of those with the same `setting` the last; how many were replaced by other figures.

    Raises:
        ResultError: see `check_row`.
    """
    last: dict[tuple[object, ...], Row] = {}
    replaced = 0
    for row in rows:
        check_row(command, row, fields)
        key = tuple(row.get(name) for name in setting)
        replaced += key in last and last[key] != row
        last[key] = row
    return list(last.values()), replaced


def is_text(value: Any) -> bool:
    """A string."""
    return isinstance(value, str)


def is_mapping(value: Any) -> bool:
    """A table of anything."""
    return isinstance(value, dict)


def is_number(value: Any, least: float = 0, most: float = float("inf")) -> bool:
    """A number in a range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def is_whole(value: Any, least: int = 0) -> bool:
    """A whole number from `least`."""
    return is_number(value, least) and isinstance(value, int)


is_share: Check = partial(is_number, most=1)


def are_shares(value: Any) -> bool:
    """A sequence of shares."""
    return isinstance(value, list | tuple) and all(map(is_share, value))


def is_summary(value: Any) -> bool:
    """Percentiles and the mean of times."""
    return isinstance(value, dict) and all(is_number(value.get(name)) for name in _PERCENTILES)
