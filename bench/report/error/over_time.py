"""Error over time: whether a method learns, or drifts away, along a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.report.document import Section
from bench.report.error.results import ErrorResults, visible
from bench.report.look import from_zero, legend_below, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def over_time(results: ErrorResults, hidden: Sequence[str] = ()) -> Iterator[Section]:
    """A section with a plot for each order and batch size whose rows tell; else none."""
    plots = []
    for order, size in results.settings():
        labels = visible(results, results.labels_of(order, size), hidden)
        series = {n: s for n in labels if (s := _series(results, order, size, n))}
        if series:
            title = f"Error over time, {order}, N = {size}"
            draw = partial(_draw, results, title, series)
            plots.append(results.plot(title, draw, "time", order, f"n{size}"))
    if plots:
        told = "Mean over the corruptions (clean pictures left out), in equal parts of each stream."
        yield Section("Error over time", [told, *plots], level=3)


def _series(results: ErrorResults, order: str, size: int, label: str) -> list[float]:
    cells = results.cells(order, size, label)
    rows = [row.over_time for name, row in cells.items() if row.over_time and name != "clean"]
    rows = rows or [row.over_time for row in cells.values() if row.over_time]
    if not rows or len({len(row) for row in rows}) > 1:
        return []
    return [sum(values) / len(values) for values in zip(*rows, strict=True)]


def _draw(results: ErrorResults, title: str, series: dict[str, list[float]]) -> Figure:
    figure, axes = new_figure(8.6, 3.4)
    for label, values in series.items():
        places = [100 * (k + 0.5) / len(values) for k in range(len(values))]
        look = results.look
        axes.plot(places, [100 * v for v in values], color=look.colour(label), label=label, lw=1.7)
    from_zero(axes, 100 * max(max(values) for values in series.values()))
    axes.set(xlim=(0, 100), xlabel="share of the stream (%)", ylabel="error (%)", title=title)
    legend_below(figure, axes)
    return figure
