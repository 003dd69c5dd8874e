"""Errors of one network on one set, by order, batch size, method and corruption."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.corruptions import CORRUPTIONS
from bench.error import ErrorRow, Mean, mean_of
from bench.orders import ORDERS, parse_order
from bench.report.document import Part, Plot, Table, code, file_name
from bench.report.look import Look
from bench.sets import CLEAN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS_AT_ONCE = 8
"""More in one plot, or side by side in one table, cannot be read."""

Fields = Mapping[str, Any]


def plain_sources(rows: Iterable[ErrorRow]) -> list[str]:
    """Return the labels of the source network; with a filter it is a method beside the others."""
    plain = (row.label for row in rows if row.method == "source" and row.estimates is None)
    return list(dict.fromkeys(plain))


class ErrorResults:
    """The rows of one network on one set at one severity (the drift through all of them beside it).

    Attributes:
        title: network, set, severity.
        prefix: of the names of its plots.
        methods: the fields of each method, by label.
        labels: of its methods, the source network first.
        source: the label of the source network without a filter, if it was measured.
        orders: names, in a fixed order.
    """

    def __init__(
        self,
        rows: Sequence[ErrorRow],
        methods: Mapping[str, Fields],
        look: Look,
        *,
        title: str = "",
        prefix: str = "",
    ) -> None:
        self.title, self.prefix, self.look = title, prefix, look
        labels = dict.fromkeys(row.label for row in rows)
        self.methods = {label: methods.get(label, {}) for label in labels}
        self.source = next(iter(plain_sources(rows)), None)
        self.labels = tuple(sorted(labels, key=lambda label: label != self.source))
        orders = {row.order: parse_order(row.order) for row in rows}
        places = {text: (ORDERS.index(order.name), order.run) for text, order in orders.items()}
        self.orders = tuple(sorted(places, key=places.__getitem__))
        self._cells: dict[tuple[str, int, str], dict[str, ErrorRow]] = {}
        for row in sorted(rows, key=lambda row: _place_of_corruption(row.corruption)):
            own = self._cells.setdefault((row.order, row.batch_size, row.label), {})
            own[row.corruption] = row

    def sizes(self, orders: Iterable[str] | None = None) -> tuple[int, ...]:
        """Batch sizes that were measured in these orders, ascending."""
        wanted = set(self.orders if orders is None else orders)
        return tuple(sorted({size for order, size, _ in self._cells if order in wanted}))

    def settings(self) -> Iterator[tuple[str, int]]:
        """Each order with each of its batch sizes."""
        return ((order, size) for order in self.orders for size in self.sizes([order]))

    def cells(self, order: str, size: int, label: str) -> Mapping[str, ErrorRow]:
        """Rows by corruption. The source network errs the same at any batch size."""
        own = self._cells.get((order, size, label), {})
        if not own and label == self.source:
            for other in self.sizes([order]):
                own = own or self._cells.get((order, other, label), {})
        return own

    def labels_of(self, order: str, size: int) -> tuple[str, ...]:
        """The methods that were measured so."""
        return tuple(label for label in self.labels if self.cells(order, size, label))

    def corruptions(self, order: str, size: int) -> tuple[str, ...]:
        """Names that any method was measured on, clean first, then in the published order."""
        names = {n for label in self.labels for n in self.cells(order, size, label)}
        return tuple(sorted(names, key=_place_of_corruption))

    def mean(self, order: str, size: int, label: str) -> Mean | None:
        """Return the mean over the corruptions; None where it was not measured."""
        own = self.cells(order, size, label)
        return mean_of(list(own.values())) if own else None

    def partial(self, order: str, size: int, mean: Mean) -> bool:
        """Return True where the mean is over fewer corruptions than others' in its setting."""
        names = [name for name in self.corruptions(order, size) if name != CLEAN]
        return len(mean.corruptions) < len(names)

    def plot(self, title: str, draw: Callable[[], Figure], *words: object) -> Plot:
        """A plot whose file is named by words."""
        return Plot(self.prefix + file_name(*words), title, draw)

    def mean_text(self, order: str, size: int, label: str) -> str:
        """Mean in % with its interval, as a cell shows it; `†` where it is partial."""
        mean = self.mean(order, size, label)
        if mean is None:
            return ""
        mark = " †" if self.partial(order, size, mean) else ""
        return f"{100 * mean.error:.1f} ({100 * mean.low:.1f}-{100 * mean.high:.1f}){mark}"


def same_fields(fields: Fields) -> str:
    """Equal for methods that are the same; 0 and 0.0 are."""
    values = {
        name: float(value) if isinstance(value, int | float) else value
        for name, value in fields.items()
    }
    return repr(sorted(values.items(), key=lambda item: item[0]))


DAGGER = "† over fewer corruptions than the other methods there: not to be compared."


def means_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Part]:
    """A table of `ErrorResults.mean_text`, and what `†` is where it has one."""
    marked = any("†" in cell for row in rows for cell in row)
    return [Table(header, rows), *([DAGGER] if marked else [])]


def group(
    rows: Sequence[ErrorRow], methods: Mapping[str, Fields], look: Look
) -> list[ErrorResults]:
    """Results of one network on one set at one severity each; drift joins the highest severity."""
    settings: dict[tuple[str, str, int], list[ErrorRow]] = {}
    drifting = [row for row in rows if row.order == "drift"]
    for row in rows:
        if row.order != "drift":
            settings.setdefault((row.model, row.data, row.severity), []).append(row)
    for row in drifting:
        known = [s for model, data, s in settings if (model, data) == (row.model, row.data)]
        settings.setdefault((row.model, row.data, max(known, default=0)), []).append(row)
    results = []
    for place, ((model, data, severity), own) in enumerate(settings.items(), 1):
        title = f"{code(model)} on {code(data)}" + (f", severity {severity}" if severity else "")
        prefix = f"{place}-" if len(settings) > 1 else ""
        results.append(ErrorResults(own, methods, look, title=title, prefix=prefix))
    return results


def visible(results: ErrorResults, labels: Sequence[str], hidden: Sequence[str]) -> tuple[str, ...]:
    """Labels to plot: not the hidden ones where there are too many, unless no other is left."""
    shown = tuple(label for label in labels if label not in hidden)
    if len(labels) <= METHODS_AT_ONCE + 1 or not set(shown) - {results.source}:
        return tuple(labels)
    return shown


def _place_of_corruption(name: str) -> tuple[int, str]:
    if name == CLEAN:
        return -1, ""
    return (CORRUPTIONS.index(name), "") if name in CORRUPTIONS else (len(CORRUPTIONS), name)
