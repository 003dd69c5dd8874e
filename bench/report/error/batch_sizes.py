"""Mean error against batch size, as the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.report.document import Plot, Section, Table, code
from bench.report.error.results import DAGGER, ErrorResults, file_name, visible
from bench.report.look import SOURCE, from_zero, legend_below, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def by_batch_size(results: ErrorResults, hidden: Sequence[str] = ()) -> Iterator[Section]:
    """A section for each order that has several batch sizes."""
    for order in results.orders:
        sizes = results.sizes([order])
        labels = _labels(results, order)
        if len(sizes) < 2 or not labels:
            continue
        plot = Plot(
            file_name(results.prefix, "batch-size", order),
            f"Error against batch size, {order}",
            partial(draw_by_batch_size, results, order, visible(results, labels, hidden)),
        )
        rows = [
            [code(label), *(results.mean_text(order, size, label) for size in sizes)]
            for label in labels
        ]
        table = Table(["mean error % (95 %)", *(f"N = {size}" for size in sizes)], rows)
        note = [DAGGER] if any("†" in cell for row in rows for cell in row) else []
        yield Section(f"Error against batch size, {order}", [plot, table, *note], 3)


def draw_by_batch_size(results: ErrorResults, order: str, labels: Sequence[str]) -> Figure:
    """Batch size to the right (log), mean error up; a line with its interval for each method."""
    figure, axes = new_figure(7.4, 4.6)
    sizes = results.sizes([order])
    top = 0.0
    for label in labels:
        means = [(size, results.mean(order, size, label)) for size in sizes]
        points = [(size, mean) for size, mean in means if mean is not None]
        source = label == results.source
        axes.errorbar(
            [size for size, _ in points],
            [100 * mean.error for _, mean in points],
            yerr=[
                [100 * (mean.error - mean.low) for _, mean in points],
                [100 * (mean.high - mean.error) for _, mean in points],
            ],
            color=SOURCE if source else results.look.colour(label),
            marker="" if source else results.look.marker(label),
            markersize=5.5,
            elinewidth=1.1,
            linewidth=1.6 if source else 1.9,
            linestyle=(0, (5, 2.5)) if source else "-",
            label=label,
        )
        top = max([top, *(100 * mean.high for _, mean in points)])
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15)
    axes.set_xlabel("batch size N (frames)")
    axes.set_ylabel("mean error (%), with 95 % interval")
    axes.set_title(f"Error against batch size, {order}")
    from_zero(axes, top)
    legend_below(figure, axes)
    return figure


def _labels(results: ErrorResults, order: str) -> list[str]:
    sizes = results.sizes([order])
    return [label for label in results.labels if any(results.cells(order, n, label) for n in sizes)]
