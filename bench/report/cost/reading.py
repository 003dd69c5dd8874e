"""Rows of `bench latency` and `bench memory`, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.results import ResultError

Row = Mapping[str, Any]

_NEEDED = {
    "latency": ("label", "model", "n", "latency_s", "processor_s", "fps", "stages_s"),
    "memory": ("label", "model", "process_peak_bytes", "saved_bytes", "how"),
}
_PERCENTILES = ("p50", "p90", "p99", "mean")


def read_rows(kind: str, rows: Iterable[Row]) -> list[Row]:
    """The rows; of those measured twice with all settings alike the last.

    Raises:
        ResultError: a row lacks a field, or has one that it cannot have.
    """
    found: dict[tuple[object, ...], Row] = {}
    for row in rows:
        for name in _NEEDED[kind]:
            if name not in row:
                raise _wrong(kind, row, f"has no {name}")
        if kind == "latency":
            _check_latency(row)
        elif not all(_is_size(row[name]) for name in ("process_peak_bytes", "saved_bytes")):
            raise _wrong(kind, row, "has sizes that are no bytes")
        key = tuple(row.get(k) for k in ("label", "model", "backend", "device", "threads", "saved"))
        found[key] = row
    return list(found.values())


def name_of(row: Row, rows: Iterable[Row]) -> str:
    """A row's method, with what else tells it from the others."""
    rows = list(rows)
    more = [
        f"{row.get(key)}{unit}"
        for key, unit in (("model", ""), ("device", ""), ("threads", " threads"))
        if row.get(key) is not None and len({str(other.get(key)) for other in rows}) > 1
    ]
    return ", ".join([str(row["label"]), *more])


def _check_latency(row: Row) -> None:
    for name in ("latency_s", "processor_s"):
        value = row[name]
        if not isinstance(value, dict) or not all(_is_time(value.get(p)) for p in _PERCENTILES):
            raise _wrong("latency", row, f"has a {name} without p50, p90, p99 and mean")


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong(kind: str, row: Row, what: str) -> ResultError:
    return ResultError(
        f"a row of {row.get('label', 'no label')} {what}; expected the rows that edge-tta bench "
        f"{kind} writes: measure again"
    )
