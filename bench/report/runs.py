"""Sections on runs: long ones, killed ones, and guarded ones on streams built to break them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.report.document import Columns, Section, Table, code
from bench.results import Row

_SOAK: Columns = {
    "method": lambda row: code(str(row["method"])),
    "network": lambda row: code(str(row["model"])),
    "frames": lambda row: f"{row['frames']:,}",
    "MiB at the start": lambda row: f"{row['stretches']['resident_bytes'][0] / 2**20:.0f}",
    "at the end": lambda row: f"{row['stretches']['resident_bytes'][-1] / 2**20:.0f}",
    "MiB in 100,000 frames": lambda row: f"{row['growth_bytes_in_100000_frames'] / 2**20:+.2f}",
    "ms a frame at the start": lambda row: f"{1e3 * row['stretches']['p50_s'][0]:.2f}",
    "latency, end / start": lambda row: f"{row['latency_ratio_end_to_start']:.2f}",
    "all finite": lambda row: "yes" if row["finite"] else "**no**",
}
_FAULTS: Columns = {
    "killed": lambda row: code(f"{row['method']} on {row['model']}"),
    "kills": lambda row: f"{row['kills']:d}",
    "in mid-write": lambda row: f"{row['in_mid_write']:d}",
    "states unreadable": lambda row: f"{row['unreadable']:d}",
    "finished saves lost": lambda row: f"{row['lost_saves']:d}",
    "states older than before": lambda row: f"{row['backward']:d}",
    "files left over": lambda row: f"{row['leftovers']:d}",
    "longest loss, s": lambda row: f"{row['longest_loss_s']:.2f}",
    "beyond the interval, s": lambda row: f"{row['longest_loss_over_interval_s']:.2f}",
}
_ABOUT_GUARD = (
    "Error in %, one frame at a time: 400 pictures before, then what is to break adaptation, then "
    "400 pictures after; `after 200` are the last 200 of these. Frames of noise and black have no "
    "labels. `falls`: how often the guard fell back; `source ran`: share of the frames on which "
    "the source network ran for it."
)
_GUARD = (
    *("stream", "pictures", "method", "before", "during", "after", "after 200"),
    *("falls", "source ran"),
)


def soak_table(rows: Sequence[Row]) -> Table:
    """Memory, latency and numbers over a long run, a line for each method."""
    return Table.of(_SOAK, rows)


def soak_sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """The section on long runs."""
    note = "Growth is the slope of a line through the resident set, without the first tenth."
    return [Section("Long runs", [soak_table(rows), note])]


def faults_table(rows: Sequence[Row]) -> Table:
    """Counts of what kills did to the state, a line for each state file."""
    return Table.of(_FAULTS, rows)


def faults_sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """The section on killed runs."""
    return [Section("Killed runs", [faults_table(rows)])]


def guard_table(rows: Iterable[Row]) -> Table:
    """A line for each stream, seed and method."""
    streams: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = (row["stream"], row["base"], row["seed"], row["label"])
        streams.setdefault(key, {})[row["part"]] = row
    return Table(_GUARD, [_guard_cells(parts) for parts in streams.values()])


def guard_sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """A section with a table for each network."""
    return [
        Section(
            f"Streams built to break adaptation: {model}",
            [_ABOUT_GUARD, guard_table(row for row in rows if str(row["model"]) == model)],
        )
        for model in dict.fromkeys(str(row["model"]) for row in rows)
    ]


def _guard_cells(parts: Mapping[str, Row]) -> list[str]:
    any_part = next(iter(parts.values()))
    errors = [parts.get(name, {}).get("stream_error") for name in ("before", "during", "after")]
    late = parts.get("after", {}).get("along", ())[2:]
    errors.append(sum(late) / len(late) if late else None)
    guarded = all(row["falls"] is not None for row in parts.values())
    frames = sum(row["n"] for row in parts.values())
    ran = sum(row["n"] * (row["source_share"] or 0) for row in parts.values())
    return [
        *(any_part["stream"], any_part["base"], code(any_part["label"])),
        *("-" if error is None else f"{100 * error:.1f}" for error in errors),
        str(sum(row["falls"] for row in parts.values())) if guarded else "",
        f"{100 * ran / frames:.0f} %" if guarded else "",
    ]
