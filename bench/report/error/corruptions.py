"""Error by corruption: a plot with intervals, the figures, and the differences to source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.error.intervals import Mean, interval_of
from bench.orders import parse_order
from bench.report.document import Part, Section, Table, code
from bench.report.error.results import DAGGER, METHODS_AT_ONCE, ErrorResults, visible
from bench.report.look import draw_by_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORSE = 0.01
"""A method this much worse than source transfers negatively; a share."""
MEAN = "mean"


def by_corruption(results: ErrorResults, hidden: Sequence[str] = ()) -> Iterator[Section]:
    """A section for each order and batch size.

    Args:
        hidden: labels that other sections show; see `visible`.
    """
    for order, size in results.settings():
        yield Section(f"{order}, N = {size}", list(_parts(results, order, size, hidden)), 4)


def negative_transfer(results: ErrorResults, order: str, size: int) -> tuple[int, int] | None:
    """Number of (method, corruption) worse than source by more than WORSE, and of how many.

    None where source was not measured, or nothing else was.
    """
    differences = [
        value
        for label in results.labels_of(order, size)
        if label != results.source
        for value in _differences(results, order, size, label).values()
    ]
    if not differences:
        return None
    return sum(value > WORSE for value in differences), len(differences)


def draw_by_corruption(
    results: ErrorResults, order: str, size: int, labels: Sequence[str]
) -> Figure:
    """Corruptions down, error to the right: a dot with its interval for each method.

    Source is a line across a corruption's band, within its interval.
    """
    names = results.corruptions(order, size)
    places = {name: float(k) for k, name in enumerate(names)}
    places[MEAN] = len(names) + 0.25  # a little apart
    points = {label: _points(results, order, size, label, places) for label in labels}
    figure, axes = draw_by_name(results.look, results.source or "", points, places, places[MEAN])
    axes.set(
        xlabel="error (%), with 95 % interval",
        title=f"Error by corruption, {order}, N = {size}",
    )
    return figure


def _points(
    results: ErrorResults, order: str, size: int, label: str, places: Mapping[str, float]
) -> list[tuple[float, Mean]]:
    """The error of each corruption, and the mean, at its place."""
    points = []
    for name, row in results.cells(order, size, label).items():
        # Not the row's own: files of earlier versions count frames instead of pictures.
        low, high = interval_of(row.error, row.n, len(row.by_seed), parse_order(order))
        points.append((places[name], Mean(row.error, low, high, (name,))))
    mean = results.mean(order, size, label)
    return [*points, (places[MEAN], mean)] if mean is not None else points


def _parts(results: ErrorResults, order: str, size: int, hidden: Sequence[str]) -> Iterator[Part]:
    labels = results.labels_of(order, size)
    shown = visible(results, labels, hidden)
    if len(shown) < len(labels):
        yield (
            f"The plot leaves out {len(labels) - len(shown)} variants, which the ablation or the "
            "sensitivity above shows."
        )
    parts = _chunks(results, shown)
    for k, chunk in enumerate(parts, 1):
        words = [order, f"n{size}", *([k] if len(parts) > 1 else [])]
        title = f"Error by corruption, {order}, N = {size}"
        draw = partial(draw_by_corruption, results, order, size, chunk)
        yield results.plot(title, draw, "corruptions", *words)
    yield "Error in %; the mean is over the corruptions, with its 95 % interval."
    yield from error_tables(results, order, size)
    means = [results.mean(order, size, label) for label in labels]
    if any(mean and results.partial(order, size, mean) for mean in means):
        yield DAGGER
    counted = negative_transfer(results, order, size)
    if counted is None:
        return
    yield (
        f"Difference to `{results.source}` in points; **bold ▲**: more than {100 * WORSE:g} point "
        f"worse ({counted[0]} of {counted[1]})."
    )
    for chunk in _chunks(results, labels):
        yield _difference_table(results, order, size, chunk)


def _chunks(results: ErrorResults, labels: Sequence[str]) -> list[list[str]]:
    """Groups of labels, each with source first."""
    first = [label for label in labels if label == results.source]
    rest = [label for label in labels if label != results.source]
    starts = range(0, len(rest) or 1, METHODS_AT_ONCE)
    return [first + rest[start : start + METHODS_AT_ONCE] for start in starts]


def error_tables(results: ErrorResults, order: str, size: int) -> Iterator[Table]:
    """Corruptions down, methods across, some in each table; the mean leaves clean pictures out."""
    for labels in _chunks(results, results.labels_of(order, size)):
        rows = []
        for name in results.corruptions(order, size):
            cells = [results.cells(order, size, label).get(name) for label in labels]
            rows.append([_title(name), *(f"{100 * c.error:.1f}" if c else "" for c in cells)])
        rows.append(["**mean**", *(results.mean_text(order, size, label) for label in labels)])
        yield Table(["corruption", *map(code, labels)], rows)


def _difference_table(results: ErrorResults, order: str, size: int, labels: Sequence[str]) -> Table:
    methods = [label for label in labels if label != results.source]
    columns = [_differences(results, order, size, label) for label in methods]
    rows = [
        [_title(name), *(difference_text(column.get(name)) for column in columns)]
        for name in results.corruptions(order, size)
    ]
    return Table(["corruption", *map(code, methods)], rows)


def difference_text(value: float | None) -> str:
    """Points to source; marked where it is worse by more than WORSE."""
    if value is None:
        return ""
    text = f"{100 * value:+.1f}"
    return f"**{text} ▲**" if value > WORSE else text


def _differences(results: ErrorResults, order: str, size: int, label: str) -> dict[str, float]:
    """Error above source's by corruption, where both were measured; rounded against noise."""
    if results.source is None:
        return {}
    source = results.cells(order, size, results.source)
    own = results.cells(order, size, label)
    return {n: round(row.error - source[n].error, 9) for n, row in own.items() if n in source}


def _title(name: str) -> str:
    return name.replace("_", " ")
