"""The section on memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.report.checks import Check, is_mapping, is_text, is_whole
from bench.report.cost import name_of, read_rows
from bench.report.document import Columns, Part, Plot, Section, Table, code
from bench.report.look import stacked_bars
from bench.results import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIELDS: Mapping[str, Check] = {
    **dict.fromkeys(("label", "model"), is_text),
    "process_peak_bytes": is_whole,
    "how": is_mapping,
}
_SIZES = {
    "process_peak_bytes": "process peak",
    "above_import_bytes": "above imports",
    "import_bytes": "imports",
    "loaded_bytes": "loaded",
    "saved_bytes": "saved",
    "state_bytes": "state",
    "weight_bytes": "weights",
    "cuda_allocated_bytes": "CUDA allocated",
    "cuda_reserved_bytes": "CUDA reserved",
    "shared_drop_bytes": "MemAvailable fell",
}
_BARS = {"imports": "#dadce0", "above": "#3066be", "of it saved for backward": "#e0a030"}


def sections(rows: Sequence[Row], methods: Row) -> list[Section]:
    """The section on memory.

    Raises:
        ResultError: a row is not as `bench memory` writes it.
    """
    rows = read_rows("memory", rows, _FIELDS)
    parts: list[Part] = [
        Plot("memory", "Peak of the process, and what is saved for backward", partial(draw, rows)),
        "MiB, each case in a fresh process. `/ stock`: over stock PyTorch Tent's. `start`: seconds "
        "from the start of the process to its first prediction.",
        table(rows),
        "What each figure is:",
        Table(["figure", "how"], meanings(rows), figures=False),
    ]
    return [Section("Memory", parts)]


def table(rows: Sequence[Row]) -> Table:
    """Sizes of each method in MiB, and over those of stock Tent."""
    columns: dict[str, Callable[[Row], str]] = {"method": lambda row: code(name_of(row, rows))}
    columns |= {_SIZES[name]: partial(_mib, name) for name in _shown(rows)}
    columns["saved / stock"] = partial(_share, "saved_bytes", rows)
    columns["peak / stock"] = partial(_share, "process_peak_bytes", rows)
    if any("start_s" in row for row in rows):
        columns["start"] = lambda row: f"{row['start_s']:.1f}" if "start_s" in row else ""
    shown: Columns = columns
    return Table.of(shown, rows)


def meanings(rows: Sequence[Row]) -> list[list[str]]:
    """What each figure of the table is, under the name it has there."""
    how = {name: text for row in rows for name, text in row.get("how", {}).items()}
    told = []
    for name in _shown(rows):
        if name in how:
            text = how[name]
            for field, title in _SIZES.items():
                text = text.replace(field, title)
            told.append([_SIZES[name], text])
    return told


def draw(rows: Sequence[Row]) -> Figure:
    """A bar for each method: imports, and what is above, the activations saved at its end."""
    imports = [(row.get("import_bytes") or 0) / 2**20 for row in rows]
    saved = [(row.get("saved_bytes") or 0) / 2**20 for row in rows]
    peaks = [row["process_peak_bytes"] / 2**20 for row in rows]
    above = [p - i - s for p, i, s in zip(peaks, imports, saved, strict=True)]
    widths = dict(zip(_BARS, (imports, above, saved), strict=True))
    names = [name_of(row, rows) for row in rows]
    return stacked_bars(names, widths, _BARS, "Memory", "peak of the process, MiB")


def _shown(rows: Sequence[Row]) -> list[str]:
    return [name for name in _SIZES if any(row.get(name) is not None for row in rows)]


def _mib(name: str, row: Row) -> str:
    value = row.get(name)
    return "" if value is None else f"{value / 2**20:.1f}"


def _share(name: str, rows: Sequence[Row], row: Row) -> str:
    for other in rows:
        alike = all(other.get(key) == row.get(key) for key in ("model", "device", "threads"))
        known = other.get(name) and row.get(name) is not None
        if other["label"] == "tent-stock" and alike and known:
            return f"{row[name] / other[name]:.3f}"
    return ""
