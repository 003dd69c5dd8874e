"""Mean error against batch size, as the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.report.document import Section, code
from bench.report.error.results import ErrorResults, means_table, visible
from bench.report.look import DASHED, Line, draw_lines

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
        draw = partial(draw_by_batch_size, results, order, visible(results, labels, hidden))
        plot = results.plot(title, draw, "batch-size", order)
        rows = [
            [code(label), *(results.mean_text(order, size, label) for size in sizes)]
            for label in labels
        ]
        header = ["mean error % (95 %)", *(f"N = {size}" for size in sizes)]
        yield Section(title, [plot, *means_table(header, rows)], 3)


def draw_by_batch_size(results: ErrorResults, order: str, labels: Sequence[str]) -> Figure:
    """Batch size to the right (log), mean error up; a line with its interval for each method."""
    sizes, look = results.sizes([order]), results.look
    lines = []
    for label in labels:
        means = ((size, results.mean(order, size, label)) for size in sizes)
        style = {"color": look.colour(label), "marker": look.marker(label), "linewidth": 1.9}
        points = [(size, mean) for size, mean in means if mean is not None]
        lines.append(Line(label, points, DASHED if label == results.source else style))
    title = f"Error against batch size, {order}"
    return draw_lines(lines, sizes, "batch size N (frames)", title, log=True)
