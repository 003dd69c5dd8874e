"""Mean error against batch size, as the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.report.document import Plot, Section, code
from bench.report.error.results import ErrorResults, file_name, means_table, visible
from bench.report.look import SOURCE, draw_means, from_zero, legend_below, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def by_batch_size(results: ErrorResults, hidden: Sequence[str] = ()) -> Iterator[Section]:
    """A section for each order that has several batch sizes."""
    for order in results.orders:
        sizes = results.sizes([order])
        labels = [n for n in results.labels if any(results.cells(order, k, n) for k in sizes)]
        if len(sizes) < 2 or not labels:
            continue
        title = f"Error against batch size, {order}"
        plot = Plot(
            file_name(results.prefix, "batch-size", order),
            title,
            partial(draw_by_batch_size, results, order, visible(results, labels, hidden)),
        )
        rows = [
            [code(label), *(results.mean_text(order, size, label) for size in sizes)]
            for label in labels
        ]
        header = ["mean error % (95 %)", *(f"N = {size}" for size in sizes)]
        yield Section(title, [plot, *means_table(header, rows)], 3)


def draw_by_batch_size(results: ErrorResults, order: str, labels: Sequence[str]) -> Figure:
    """Batch size to the right (log), mean error up; a line with its interval for each method."""
    figure, axes = new_figure(7.4, 4.6)
    sizes = results.sizes([order])
    top = 0.0
    for label in labels:
        means = ((size, results.mean(order, size, label)) for size in sizes)
        points = [(size, mean) for size, mean in means if mean is not None]
        style: Any
        if label == results.source:
            style = {"color": SOURCE, "linewidth": 1.6, "linestyle": (0, (5, 2.5))}
        else:
            look = results.look
            style = {"color": look.colour(label), "marker": look.marker(label), "linewidth": 1.9}
        top = max(top, draw_means(axes, points, label=label, **style))
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set(
        xlim=(sizes[0] / 1.15, sizes[-1] * 1.15),
        xlabel="batch size N (frames)",
        ylabel="mean error (%), with 95 % interval",
        title=f"Error against batch size, {order}",
    )
    from_zero(axes, top)
    legend_below(figure, axes)
    return figure
