"""Reports on rows of `bench bundle`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.document import Section, Table
from bench.results import rows_of

_HEADER = ("peer", "ms (median)", "processor, ms", "peak, MB", "start, s")


def sections(
    rows: Sequence[Mapping[str, Any]], methods: Mapping[str, Mapping[str, Any]]
) -> list[Section]:
    """Time and memory of a bundle and its peers, a section a network.

    Raises:
        ResultError: a row is not as `bench bundle` writes it.
    """
    with rows_of("bundle"):
        runs: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        for row in rows:
            runs.setdefault((row["model"], row["threads"]), []).append(row)
        return [
            Section(f"Bundle of {model}, {threads} threads", [Table(_HEADER, _cells(own))])
            for (model, threads), own in runs.items()
        ]


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    peaks = {row["method"]: row for row in rows if row["measure"] == "memory"}
    found: list[tuple[str, ...]] = []
    for row in rows:
        if row["measure"] != "latency":
            continue
        alone = peaks[row["method"]]
        peak = alone["process_peak_bytes"]
        found.append(
            (
                row["method"],
                f"{1e3 * row['p50_s']:.1f}",
                f"{1e3 * row['cpu_s']:.1f}",
                "?" if peak is None else f"{peak / 1e6:.0f}",
                f"{alone['start_s']:.2f}",
            )
        )
    return found
