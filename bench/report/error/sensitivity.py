"""Sensitivity to one number, as the paper's Table 5: methods that differ in a single field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.report.document import Part, Section, code
from bench.report.error.results import ErrorResults, Fields, means_table, same_fields
from bench.report.look import DASHED, Line, draw_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST = 3
_SYMBOLS = {"smoothing": "m", "views": "k", "accumulation": "S"}
_SHADES = ("#1b7f5c", "#3066be", "#8d5fd3", "#e0a030", "#c2549b", "#17a2b8")
_LOG_RATIO = 20.0
"""Values that span more than this are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Series:
    """Methods that differ in one field only.

    Attributes:
        field: its name.
        labels: by its value, ascending.
        base: what they are called without it.
    """

    field: str
    labels: Mapping[float, str]
    base: str

    @property
    def name(self) -> str:
        """The field, with the paper's symbol where it has one."""
        symbol = _SYMBOLS.get(self.field)
        return self.field.replace("_", " ") + (f" {symbol}" if symbol else "")


def series_of(methods: Mapping[str, Fields]) -> list[Series]:
    """All groups of three methods or more that differ in exactly one numeric field.

    Methods with the same fields count once, under their first label.
    """
    distinct: dict[str, str] = {}
    for label, fields in methods.items():
        if fields and fields.get("method") != "source":
            distinct.setdefault(same_fields(fields), label)
    labels = list(distinct.values())
    numeric = dict.fromkeys(
        name
        for label in labels
        for name, value in methods[label].items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "seed"
    )
    series = []
    for field in numeric:
        groups: dict[str, dict[float, str]] = {}
        for label in labels:
            fields = methods[label]
            value = fields.get(field)
            if isinstance(value, int | float):
                rest = {name: other for name, other in fields.items() if name != field}
                groups.setdefault(same_fields(rest), {})[value] = label
        for group in groups.values():
            if len(group) >= _FEWEST:
                ordered = {value: group[value] for value in sorted(group)}
                series.append(Series(field, ordered, _base(field, list(group.values()))))
    return series


def by_value(results: ErrorResults) -> Iterator[Section]:
    """A section for each series: a plot for each order and one table."""
    for place, series in enumerate(series_of(results.methods), 1):
        plots: list[Part] = []
        rows = []
        for order in results.orders:
            sizes = [
                size
                for size in results.sizes([order])
                if sum(bool(results.cells(order, size, n)) for n in series.labels.values()) > 1
            ]
            if not sizes:
                continue
            title = f"Error against {series.name}, {order}"
            draw = partial(draw_by_value, results, series, order, sizes)
            plots.append(results.plot(title, draw, "sensitivity", place, series.field, order))
            for size in sizes:
                cells = [results.mean_text(order, size, n) for n in series.labels.values()]
                rows.append([f"{order}, N = {size}", *cells])
        if rows:
            header = ["mean error % (95 %)", *(f"{value:g}" for value in series.labels)]
            words = f"{code(series.base)} with each value of {code(series.field)}:"
            parts = [*plots, words, *means_table(header, rows)]
            yield Section(f"Sensitivity to {series.name}", parts, 3)


def draw_by_value(
    results: ErrorResults, series: Series, order: str, sizes: Sequence[int]
) -> Figure:
    """The field's value to the right, mean error up; a line for each batch size."""
    lines = []
    values = list(series.labels)
    source = results.mean(order, sizes[0], results.source) if results.source else None
    if source is not None:
        level = replace(source, low=source.error, high=source.error)
        lines.append(Line("source", [(value, level) for value in values], DASHED))
    for k, size in enumerate(sizes):
        means = ((v, results.mean(order, size, label)) for v, label in series.labels.items())
        points = [(value, mean) for value, mean in means if mean is not None]
        style = {"color": _SHADES[k % len(_SHADES)], "marker": "osD^vP"[k % 6], "linewidth": 1.8}
        lines.append(Line(f"N = {size}", points, style))
    log = values[0] > 0 and values[-1] / values[0] > _LOG_RATIO
    title = f"Error against {series.name}, {order}"
    return draw_lines(lines, values, series.name, title, log=log)


def _base(field: str, labels: list[str]) -> str:
    """The shortest label, without the field."""
    shortest = min(labels, key=len)
    parts = [part for part in shortest.split("+") if not part.startswith(f"{field}=")]
    return "+".join(parts)
