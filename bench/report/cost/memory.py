"""The section on memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.report.cost.reading import Row, name_of, read_rows
from bench.report.document import Part, Plot, Section, Table, code
from bench.report.look import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZES = {
    "process_peak_bytes": "process peak",
    "above_import_bytes": "above imports",
    "import_bytes": "imports",
    "saved_bytes": "saved",
    "state_bytes": "state",
    "weight_bytes": "weights",
    "cuda_allocated_bytes": "CUDA allocated",
    "cuda_reserved_bytes": "CUDA reserved",
    "shared_drop_bytes": "MemAvailable fell",
}


def sections(rows: Sequence[Row], methods: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """All that a report says of memory.

    Raises:
        ResultError: a row is not as `bench memory` writes it.
    """
    found = read_rows("memory", rows)
    shown = [name for name in _SIZES if any(row.get(name) is not None for row in found)]
    body = [
        [code(name_of(row, found)), *(_mib(row.get(name)) for name in shown), _share(row, found)]
        for row in found
    ]
    how: dict[str, str] = {}
    for row in found:
        how |= row["how"]
    parts: list[Part] = [
        Plot("memory", "Peak of the process, and what waits for backward", partial(draw, found)),
        "MiB, each case in a fresh process. `/ stock`: saved over that of stock PyTorch Tent.",
        Table(["method", *(_SIZES[name] for name in shown), "saved / stock"], body),
        "What each figure is:",
        Table(["figure", "how"], [[_SIZES[n], how[n]] for n in shown if n in how], figures=False),
    ]
    return [Section("Memory", parts)]


def draw(rows: Sequence[Row]) -> Figure:
    """Two bars a method: process peak with its imports, and the saved tensors."""
    figure, axes = new_figure(8.6, 1.2 + 0.42 * len(rows))
    for place, row in enumerate(rows):
        imports = (row.get("import_bytes") or 0) / 2**20
        peak = row["process_peak_bytes"] / 2**20
        axes.barh(place, imports, color="#dadce0", height=0.62)
        axes.barh(place, peak - imports, left=imports, color="#3066be", height=0.62)
        saved = row["saved_bytes"] / 2**20
        axes.barh(place, saved, left=peak - saved, color="#e0a030", height=0.62)
    named = (("#dadce0", "imports"), ("#3066be", "above"), ("#e0a030", "of it saved for backward"))
    for colour, name in named:
        axes.barh(0, 0, color=colour, label=name)
    axes.set_yticks(range(len(rows)), [name_of(row, rows) for row in rows])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("peak of the process, MiB")
    axes.set_title("Memory")
    figure.set_figheight(figure.get_figheight() + 0.25)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _share(row: Row, rows: Sequence[Row]) -> str:
    keys = ("model", "device")
    for other in rows:
        if other["label"] == "tent-stock" and all(other.get(k) == row.get(k) for k in keys):
            stock = other["saved_bytes"]
            return f"{row['saved_bytes'] / stock:.3f}" if stock else ""
    return ""


def _mib(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:.1f}"
