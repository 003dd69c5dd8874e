"""The guard's judge: how often it is on the right side, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.error import ErrorRow
from bench.report.document import Section, Table, code
from bench.report.error.results import ErrorResults

APART = 0.02
"""Errors of adapted network and source that differ by less are on no side."""

FIRST_FRAMES = 300
"""Frames of a stream that the judge has to make up its mind."""


class Case(NamedTuple):
    """Corruption in one order: errors of adapted network and source, weight of the source."""

    corruption: str
    adapted: float
    source: float
    weight: float

    @property
    def decides(self) -> bool:
        """True where it matters which of the two answers."""
        return abs(self.adapted - self.source) > APART

    @property
    def right(self) -> bool:
        """Whether the better one has most of the weight."""
        return (self.weight > 0.5) == (self.adapted > self.source)


def judge(results: ErrorResults) -> Iterator[Section]:
    """A section with a row for each guarded method and order, if any has what its judge said."""
    rows = []
    for order, size in results.settings():
        for label in results.labels_of(order, size):
            made = cases(results, order, size, label)
            if made:
                decides = [case for case in made if case.decides]
                wrong = [case for case in decides if not case.right]
                told = ", ".join(
                    f"{case.corruption} {100 * (case.adapted - case.source):+.1f}" for case in wrong
                )
                count = f"{len(decides) - len(wrong)} of {len(decides)}"
                rows.append([code(label), f"{order}, N = {size}", count, told])
    if rows:
        text = (
            f"Corruptions where adapted network and source are more than {100 * APART:.0f} points "
            f"apart after the first {FIRST_FRAMES} frames, and on how many of them the guard gives "
            "the better one most of the weight, on the mean of these frames. Wrong ones with the "
            "adapted network's error minus the source's."
        )
        header = ["method", "frames", "right", "wrong"]
        yield Section("Which network the guard believes", [text, Table(header, rows)])


def cases(results: ErrorResults, order: str, size: int, label: str) -> list[Case]:
    """Corruptions with what the judge said, over the frames after the first ones."""
    sources: Mapping[str, ErrorRow] = (
        results.cells(order, size, results.source) if results.source else {}
    )
    made = []
    for corruption, row in results.cells(order, size, label).items():
        source = sources.get(corruption)
        if row.weight_over_time and row.own_over_time and source and source.over_time:
            parts = (row.own_over_time, source.over_time, row.weight_over_time)
            late = _late(np.array(parts), row.n // len(row.by_seed))
            if late.size:
                made.append(Case(corruption, *late.mean(1).tolist()))
    return made


def _late(parts: npt.NDArray[np.float64], frames: int) -> npt.NDArray[np.float64]:
    """Return the equal parts (kinds, parts) of a stream that begin after its first frames."""
    starts = np.arange(parts.shape[1]) * frames / parts.shape[1]
    return parts[:, starts >= FIRST_FRAMES]
