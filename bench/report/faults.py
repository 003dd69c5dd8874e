"""Reports on rows of `bench faults`."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.document import Columns, Section, Table, code
from bench.results import Row

_COLUMNS: Columns = {
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


def table(rows: Sequence[Row]) -> Table:
    """Counts, a line for each state file."""
    return Table.of(_COLUMNS, rows)


def sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """A section on what kills did to the state."""
    return [Section("Killed runs", [table(rows)])]
