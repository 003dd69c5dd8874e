"""Reports on rows of `bench latency` and `bench memory`, and on errors beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.report.checks import Check, latest
from bench.results import Row

_SETTING = ("label", "model", "backend", "device", "threads", "saved")


def read_rows(command: str, rows: Iterable[Row], fields: Mapping[str, Check]) -> list[Row]:
    """The rows; of those measured twice with all settings alike the last.

    Raises:
        ResultError: see `check_row`.
    """
    return latest(command, rows, fields, _SETTING)[0]


def name_of(row: Row, rows: Sequence[Row]) -> str:
    """A row's method, with what else tells it from the others."""
    more = [
        f"{row.get(key)}{unit}"
        for key, unit in (("model", ""), ("device", ""), ("threads", " threads"))
        if row.get(key) is not None and len({str(other.get(key)) for other in rows}) > 1
    ]
    return ", ".join([str(row["label"]), *more])
