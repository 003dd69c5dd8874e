"""A page of sections, tables and plots, and its Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from bench.results import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Columns = Mapping[str, Callable[[Row], str]]
"""The cell of a row under each title."""


@dataclass(frozen=True)
class Table:
    """Cells of Markdown. The first column is words; the others are too, or `figures`."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: bool = True

    @classmethod
    def of(cls, columns: Columns, rows: Iterable[Row]) -> Table:
        """A line for each row."""
        return cls(list(columns), [[cell(row) for cell in columns.values()] for row in rows])


@dataclass(frozen=True)
class Plot:
    """A picture beside the page, drawn when it is written.

    Attributes:
        name: of its file, without ending.
        title: what it shows, for those who cannot see it.
    """

    name: str
    title: str
    draw: Callable[[], Figure]


Part = Union[str, Table, Plot]  # noqa: UP007 - evaluated at import, also on Python 3.10
"""A paragraph of Markdown, a table or a plot."""


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it. Level 1 is the page's title."""

    title: str
    parts: Sequence[Part] = ()
    level: int = 2


def markdown(sections: Iterable[Section]) -> str:
    """The page as Markdown; plots are pictures `NAME.png` beside it."""
    return "\n\n".join(_blocks(sections)) + "\n"


def plots_of(sections: Iterable[Section]) -> list[Plot]:
    """All plots of a page, in their order."""
    return [part for section in sections for part in section.parts if isinstance(part, Plot)]


def file_name(*words: object) -> str:
    """A plot's name of words: letters, digits, dots, hyphens are kept of them."""
    text = "-".join(map(str, words))
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in text)


def code(text: str) -> str:
    """Text that Markdown takes as it is, in a line or a cell."""
    return f"`{text.replace('`', chr(39))}`"


def _blocks(sections: Iterable[Section]) -> Iterator[str]:
    for section in sections:
        yield f"{'#' * section.level} {section.title}"
        for part in section.parts:
            if isinstance(part, Table):
                yield _table(part)
            elif isinstance(part, Plot):
                yield f"![{part.title}]({part.name}.png)"
            else:
                yield part


def _table(table: Table) -> str:
    rule = ["---"] + ["---:" if table.figures else "---"] * (len(table.header) - 1)
    lines = ([c.replace("|", "\\|") for c in cells] for cells in (table.header, rule, *table.rows))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
