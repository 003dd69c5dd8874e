"""Accuracy without labels: how far the estimates were off, and how often the interval held."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.report.document import Section, Table, code
from bench.report.error.results import ErrorResults

_OF = {
    "estimates": "",
    "own_estimates": ", its adapted network alone",
    "source_estimates": ", its source",
}


def accuracy(results: ErrorResults) -> Iterator[Section]:
    """A section with a row for each method and order that has estimates, if any has."""
    rows = []
    for order, size in results.settings():
        for label in results.labels_of(order, size):
            cells = results.cells(order, size, label).values()
            for name, ending in _OF.items():
                made = [own for row in cells for own in getattr(row, name) or ()]
                if made:
                    rows.append([code(label) + ending, f"{order}, N = {size}", *_figures(made)])
    if rows:
        header = ["method", "frames", "estimates", "error, points", "within the interval"]
        text = (
            "What the class filter says of the accuracy over the latest 300 frames, and the guard "
            "of both networks' over some forty that it compared lately, beside what it was over "
            "the latest 300; the error is the mean of the absolute ones."
        )
        yield Section("Accuracy without labels", [text, Table(header, rows)])


def _figures(made: list[tuple[float | None, ...]]) -> list[str]:
    known = np.array([own for own in made if None not in own], np.float64).reshape(-1, 4)
    count = f"{len(known)} of {len(made)}"
    if not len(known):
        return [count, "-", "-"]
    was, estimated, low, high = known.T
    within = np.mean((low <= was) & (was <= high))
    return [count, f"{100 * np.abs(was - estimated).mean():.1f}", f"{within:.0%}"]
