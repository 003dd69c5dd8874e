"""Mean error by order of the stream, and how often a method is worse than source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.report.document import Part, Plot, Section, Table, code
from bench.report.error.corruptions import WORSE, negative_transfer
from bench.report.error.results import DAGGER, ErrorResults, file_name, visible
from bench.report.look import SOURCE, from_zero, legend_below, new_figure
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
            parts.append(
                Plot(
                    file_name(results.prefix, "orders", f"n{size}"),
                    f"Mean error by order, N = {size}",
                    partial(draw_by_order, results, orders, size, visible(results, labels, hidden)),
                )
            )
        rows = [
            [code(label), *(results.mean_text(order, size, label) for order in orders)]
            for label in labels
        ]
        counts = [len(_corrupted(results, order, size)) for order in orders]
        named = [
            f"{order} ({count} corruptions)" if len(set(counts)) > 1 else order
            for order, count in zip(orders, counts, strict=True)
        ]
        parts.append(Table([f"N = {size}: mean error % (95 %)", *named], rows))
        parts += [DAGGER] if any("†" in cell for row in rows for cell in row) else []
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
    methods = [label for label in labels if label != results.source]
    figure, axes = new_figure(max(6.4, 1.2 + len(orders) * max(0.9, 0.16 * len(methods))), 4.4)
    top = 0.0
    if results.source in labels:
        found = [results.mean(order, size, results.source or "") for order in orders]
        known = [(place, mean) for place, mean in enumerate(found) if mean is not None]
        axes.hlines(
            [100 * mean.error for _, mean in known],
            [place - 0.42 for place, _ in known],
            [place + 0.42 for place, _ in known],
            color=SOURCE,
            linewidth=1.8,
            label=str(results.source),
        )
        top = max([100 * mean.high for _, mean in known], default=0.0)
    for k, label in enumerate(methods):
        offset = 0.72 * ((k + 0.5) / len(methods) - 0.5)
        found = [results.mean(order, size, label) for order in orders]
        known = [(place, mean) for place, mean in enumerate(found) if mean is not None]
        axes.errorbar(
            [place + offset for place, _ in known],
            [100 * mean.error for _, mean in known],
            yerr=[
                [100 * (mean.error - mean.low) for _, mean in known],
                [100 * (mean.high - mean.error) for _, mean in known],
            ],
            fmt=results.look.marker(label),
            color=results.look.colour(label),
            markersize=6,
            elinewidth=1.2,
            label=label,
        )
        top = max([top, *(100 * mean.high for _, mean in known)])
    for place in range(1, len(orders)):
        axes.axvline(place - 0.5, color="#dadce0", linewidth=0.8)
    axes.set_xticks(range(len(orders)), list(orders))
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(orders) - 0.5)
    axes.set_xlabel("order of the stream")
    axes.set_ylabel("mean error (%), with 95 % interval")
    axes.set_title(f"Mean error by order, N = {size}")
    from_zero(axes, top)
    legend_below(figure, axes)
    return figure


def _corrupted(results: ErrorResults, order: str, size: int) -> list[str]:
    return [name for name in results.corruptions(order, size) if name != CLEAN]


def _transfer(results: ErrorResults, orders: Sequence[str], size: int) -> Iterator[str]:
    for order in orders:
        counted = negative_transfer(results, order, size)
        if counted is not None:
            yield f"{order}, N = {size}: {counted[0]} of {counted[1]}"
        elif results.source is None or not results.cells(order, size, results.source):
            yield f"{order}, N = {size}: not known, source was not measured"
        else:
            yield f"{order}, N = {size}: nothing but source was measured"
