"""The section on time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.report.checks import Check, is_mapping, is_number, is_summary, is_text, is_whole
from bench.report.cost import name_of, read_rows
from bench.report.document import Columns, Part, Plot, Section, Table, code
from bench.report.look import stacked_bars
from bench.results import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIELDS: Mapping[str, Check] = {
    **dict.fromkeys(("label", "model"), is_text),
    "n": is_whole,
    **dict.fromkeys(("latency_s", "processor_s"), is_summary),
    "fps": is_number,
    "stages_s": is_mapping,
}
STAGES = {
    "read": "#dadce0",
    "prepare": "#9aa0a6",
    "forward": "#3066be",
    "backward": "#e0a030",
    "update": "#1b7f5c",
    "whole step": "#6b705c",
    "rest": "#f2784b",
}
"""Stages of a frame, and their colours."""


def sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """The section on time.

    Raises:
        ResultError: a row is not as `bench latency` writes it.
    """
    rows = read_rows("latency", rows, _FIELDS)
    parts: list[Part] = [
        Plot("latency-stages", "Time of a frame by stage", partial(draw_stages, rows)),
        "One stream, one frame at a time; ms. Methods take turns; warm-ups and the first frames "
        "of a turn are not counted. `processor` is the time of all threads; `/ stock`: median over "
        "that of stock PyTorch Tent in the same run; `drift`: last tenth of the frames over the "
        "first.",
        table(rows),
    ]
    unstable = [
        f"{code(name_of(row, rows))}: {row['unstable']}" for row in rows if row.get("unstable")
    ]
    if unstable:
        parts.append("**Unstable**, not to be relied on: " + ". ".join(unstable) + ".")
    return [Section("Time", parts)]


def table(rows: Sequence[Row]) -> Table:
    """Times of each method in ms, over those of stock Tent, and deadlines missed."""
    columns: Columns = {
        "method": lambda row: code(name_of(row, rows)),
        "p50": lambda row: _ms(row["latency_s"]["p50"]),
        "p90": lambda row: _ms(row["latency_s"]["p90"]),
        "p99": lambda row: _ms(row["latency_s"]["p99"]),
        "mean": lambda row: _ms(row["latency_s"]["mean"]),
        "fps": lambda row: f"{row['fps']:.1f}",
        "processor p50": lambda row: _ms(row["processor_s"]["p50"]),
        "/ stock": lambda row: (
            f"{row['ratio_to_stock']['wall']:.2f}" if row.get("ratio_to_stock") else ""
        ),
        "drift": lambda row: f"{row['drift']:.2f}" if "drift" in row else "",
    }
    if any("misses" in row for row in rows):
        columns = {**columns, "deadline missed": _missed}
    return Table.of(columns, rows)


def stage_table(rows: Sequence[Row]) -> Table:
    """Mean ms by stage, which add up; what adapts in one call has a whole step only."""
    columns: Columns = {"method": lambda row: code(name_of(row, rows))}
    present = {stage: partial(_stage, stage) for stage in _present(rows)}
    return Table.of({**columns, **present}, rows)


def draw_stages(rows: Sequence[Row]) -> Figure:
    """A bar for each method, its stages one after another."""
    widths = {
        stage: [1e3 * row["stages_s"].get(stage, {}).get("mean", 0.0) for row in rows]
        for stage in _present(rows)
    }
    names = [name_of(row, rows) for row in rows]
    return stacked_bars(names, widths, STAGES, "Time of a frame", "ms, means of the stages")


def _present(rows: Sequence[Row]) -> list[str]:
    return [stage for stage in STAGES if any(stage in row["stages_s"] for row in rows)]


def _stage(stage: str, row: Row) -> str:
    return _ms(row["stages_s"][stage]["mean"]) if stage in row["stages_s"] else "-"


def _missed(row: Row) -> str:
    if "misses" not in row:
        return ""
    return f"{row['misses']} of {row['n']} over {row['budget_ms']:g} ms"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"
