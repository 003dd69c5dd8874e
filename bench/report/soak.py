"""Reports on rows of `bench soak`."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.document import Columns, Section, Table, code
from bench.results import Row

_COLUMNS: Columns = {
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


def table(rows: Sequence[Row]) -> Table:
    """A line for each method."""
    return Table.of(_COLUMNS, rows)


def sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """Memory, latency and numbers over long runs."""
    note = "Growth is the slope of a line through the resident set, without the first tenth."
    return [Section("Long runs", [table(rows), note])]
