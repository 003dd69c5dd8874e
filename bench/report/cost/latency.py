"""The section on time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.report.cost.reading import Row, name_of, read_rows
from bench.report.document import Part, Plot, Section, Table, code
from bench.report.look import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES = ("read", "prepare", "forward", "backward", "update", "whole step", "rest")
_COLOURS = ("#dadce0", "#9aa0a6", "#3066be", "#e0a030", "#1b7f5c", "#6b705c", "#f2784b")


def sections(rows: Sequence[Row], methods: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """All that a report says of time.

    Raises:
        ResultError: a row is not as `bench latency` writes it.
    """
    found = read_rows("latency", rows)
    parts: list[Part] = [
        Plot("latency-stages", "Time of a frame by stage", partial(draw_stages, found)),
        "One stream, one frame at a time; ms. Methods take turns in one process; warm-ups are not "
        "counted. `processor` is the time of all threads; `/ stock`: median over that of stock "
        "PyTorch Tent in the same run; `drift`: last tenth of the frames over the first.",
        _table(found),
    ]
    unstable = [
        f"{code(name_of(row, found))}: {row['unstable']}" for row in found if row.get("unstable")
    ]
    if unstable:
        parts.append("**Unstable**, not to be relied on: " + ". ".join(unstable) + ".")
    return [Section("Time", parts)]


def _table(rows: Sequence[Row]) -> Table:
    header = ["method", "p50", "p90", "p99", "mean", "fps", "processor p50", "/ stock", "drift"]
    budget = any("misses" in row for row in rows)
    body = []
    for row in rows:
        ratio = row.get("ratio_to_stock")
        cells = [
            code(name_of(row, rows)),
            *(_ms(row["latency_s"][p]) for p in ("p50", "p90", "p99", "mean")),
            f"{row['fps']:.1f}",
            _ms(row["processor_s"]["p50"]),
            f"{ratio['wall']:.2f}" if ratio else "",
            f"{row['drift']:.2f}" if "drift" in row else "",
        ]
        if budget:
            told = f"{row['misses']} of {row['n']} over {row['budget_ms']:g} ms"
            cells.append(told if "misses" in row else "")
        body.append(cells)
    return Table([*header, *(["deadline missed"] if budget else [])], body)


def draw_stages(rows: Sequence[Row]) -> Figure:
    """A bar a method, its stages one after another."""
    figure, axes = new_figure(8.6, 1.2 + 0.42 * len(rows))
    for place, row in enumerate(rows):
        left = 0.0
        for stage, colour in zip(STAGES, _COLOURS, strict=True):
            width = 1e3 * row["stages_s"].get(stage, {}).get("mean", 0.0)
            axes.barh(place, width, left=left, color=colour, height=0.62)
            left += width
    present = [s for s in STAGES if any(s in row["stages_s"] for row in rows)]
    for stage in present:
        axes.barh(0, 0, color=_COLOURS[STAGES.index(stage)], label=stage)
    axes.set_yticks(range(len(rows)), [name_of(row, rows) for row in rows])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("ms, means of the stages")
    axes.set_title("Time of a frame")
    figure.set_figheight(figure.get_figheight() + 0.25)
    figure.legend(loc="outside lower center", ncols=len(present))
    return figure


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"
