"""Reports on rows of `bench soak`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.document import Section, Table, code
from bench.results import rows_of


def sections(
    rows: Sequence[Mapping[str, Any]], methods: Mapping[str, Mapping[str, Any]]
) -> list[Section]:
    """Memory, latency and numbers over long runs.

    Raises:
        ResultError: a row is not as `bench soak` writes it.
    """
    header = (
        *("method", "network", "frames", "memory at the end, MiB", "MiB in 100,000 frames"),
        *("latency, end / start", "all finite"),
    )
    with rows_of("soak"):
        cells = [
            (
                code(str(row["method"])),
                code(str(row["model"])),
                f"{row['frames']:,}",
                f"{row['stretches']['resident_bytes'][-1] / 2**20:.0f}",
                f"{row['growth_bytes_in_100000_frames'] / 2**20:+.2f}",
                f"{row['latency_ratio_end_to_start']:.2f}",
                "yes" if row["finite"] else "**no**",
            )
            for row in rows
        ]
    note = "Growth is the slope of a line through the resident set, without the first tenth."
    return [Section("Long runs", [Table(header, cells), note])]
