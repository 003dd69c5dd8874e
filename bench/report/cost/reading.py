"""Rows of `bench latency` and `bench memory`, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.report.checks import (
    Check,
    is_mapping,
    is_number,
    is_summary,
    is_text,
    is_whole,
    latest,
)
from bench.results import Row

_SETTING = ("label", "model", "backend", "device", "threads", "saved")


LATENCY: Mapping[str, Check] = {
    "label": is_text,
    "model": is_text,
    "n": is_whole,
    "latency_s": is_summary,
    "processor_s": is_summary,
    "fps": is_number,
    "stages_s": is_mapping,
}
MEMORY: Mapping[str, Check] = {
    "label": is_text,
    "model": is_text,
    "process_peak_bytes": is_whole,
    "how": is_mapping,
}


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
