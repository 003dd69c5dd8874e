"""Reports on rows of `bench faults`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.document import Section, Table, code
from bench.results import rows_of

_COUNTS = {
    "kills": "kills",
    "in_mid_write": "in mid-write",
    "unreadable": "states unreadable",
    "lost_saves": "finished saves lost",
    "backward": "states older than before",
    "leftovers": "files left over",
}


def sections(
    rows: Sequence[Mapping[str, Any]], methods: Mapping[str, Mapping[str, Any]]
) -> list[Section]:
    """What kills did to the state.

    Raises:
        ResultError: a row is not as `bench faults` writes it.
    """
    with rows_of("faults"):
        cells = [
            (
                code(f"{row['method']} on {row['model']}"),
                *(f"{row[name]:d}" for name in _COUNTS),
                f"{row['longest_loss_s']:.2f}",
                f"{row['longest_loss_over_interval_s']:.2f}",
            )
            for row in rows
        ]
    header = ("killed", *_COUNTS.values(), "longest loss, s", "beyond the interval, s")
    return [Section("Killed runs", [Table(header, cells)])]
