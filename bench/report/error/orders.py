"""Mean error by order of the stream, and how often a method is worse than source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.error import Mean
from bench.report.document import Part, Section, code
from bench.report.error.corruptions import WORSE, negative_transfer
from bench.report.error.results import ErrorResults, means_table, visible
from bench.report.look import FAINT, draw_side_by_side, from_zero, legend_below, new_figure
from bench.sets import CLEAN

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def by_order(results: ErrorResults, hidden: Sequence[str] = ()) -> Section:
    """A table of methods and orders for each batch size; a plot where there are several orders."""
    parts: list[Part] = []
    for size in results.sizes():
        orders = [order for order in results.orders if size in results.sizes([order])]
        labels = [n for n in results.labels if any(results.cells(o, size, n) for o in orders)]
        if len(orders) > 1:
            title = f"Mean error by order, N = {size}"
            shown = visible(results, labels, hidden)
            draw = partial(draw_by_order, results, orders, size, shown)
            parts.append(results.plot(title, draw, "orders", f"n{size}"))
        rows = [
            [code(label), *(results.mean_text(order, size, label) for order in orders)]
            for label in labels
        ]
        counts = {o: len(set(results.corruptions(o, size)) - {CLEAN}) for o in orders}
        differ = len(set(counts.values())) > 1
        named = [f"{order} ({counts[order]} corruptions)" if differ else order for order in orders]
        parts += means_table([f"N = {size}: mean error % (95 %)", *named], rows)
        parts.append(
            f"Negative transfer: errors more than {100 * WORSE:g} point worse than source's, of "
            "each method on each corruption and on clean pictures."
        )
        parts.append("\n".join(f"- {line}" for line in _transfer(results, orders, size)))
    return Section("Mean error by order", parts, 3)


def draw_by_order(
    results: ErrorResults, orders: Sequence[str], size: int, labels: Sequence[str]
) -> Figure:
    """Orders side by side, mean error up; a dot with its interval for each method.

    Dots of a method are not joined: orders have no distance. Source is a line over each order.
    """
    methods = len(set(labels) - {results.source})
    figure, axes = new_figure(max(6.4, 1.2 + len(orders) * max(0.9, 0.16 * methods)), 4.4)
    points = {label: _points(results, orders, size, label) for label in labels}
    source = results.source or ""
    top = draw_side_by_side(axes, results.look, points, source, markersize=6, elinewidth=1.2)
    for place in range(1, len(orders)):
        axes.axvline(place - 0.5, color=FAINT, linewidth=0.8)
    axes.set_xticks(range(len(orders)), list(orders))
    axes.tick_params(axis="x", length=0)
    axes.set(
        xlim=(-0.5, len(orders) - 0.5),
        xlabel="order of the stream",
        ylabel="mean error (%), with 95 % interval",
        title=f"Mean error by order, N = {size}",
    )
    from_zero(axes, top)
    legend_below(figure, axes)
    return figure


def _points(
    results: ErrorResults, orders: Sequence[str], size: int, label: str
) -> list[tuple[float, Mean]]:
    """The mean of each order at its place."""
    means = ((place, results.mean(order, size, label)) for place, order in enumerate(orders))
    return [(place, mean) for place, mean in means if mean is not None]


def _transfer(results: ErrorResults, orders: Sequence[str], size: int) -> Iterator[str]:
    for order in orders:
        counted = negative_transfer(results, order, size)
        if counted is not None:
            yield f"{order}, N = {size}: {counted[0]} of {counted[1]}"
        elif results.source is None or not results.cells(order, size, results.source):
            yield f"{order}, N = {size}: not known, source was not measured"
        else:
            yield f"{order}, N = {size}: nothing but source was measured"
