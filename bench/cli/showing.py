"""Tables of a report on a terminal, as wide as that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import JustifyMethod
from rich.table import Table as RichTable

from bench.report.document import Table
from edge_tta.cli.terminal import terminal

_LEAST_NAME = 20
"""Width that the first column keeps; its names break at spaces."""

_BORDER = 3


def show_table(table: Table, title: str | None = None) -> None:
    """Print a table to stdout; in parts, one below the other, where it is wider than the terminal.

    Figures are never broken, and names only at their joints.
    """
    console = terminal()
    header = [_plain(table.header[0]), *map(_joints, table.header[1:])]
    rows = [[_plain(cell) for cell in row] for row in table.rows]
    breaks = not table.figures
    if any(len(word) > _LEAST_NAME for row in rows for word in row[0].split()):
        rows = [[_joints(row[0]), *row[1:]] for row in rows]
    first, *others = zip(header, *rows, strict=True)
    widths = [_width(cells, breaks=breaks) for cells in others]
    room = console.width - 1
    name = min(max(_width(first, breaks=True), _LEAST_NAME), _width(first, breaks=False))
    # Whatever the names are, there is room for the widest of the other columns.
    name = max(1, min(name, room - 2 * _BORDER - max(widths, default=0)))
    for chosen in _parts(widths, room - name - _BORDER):
        shown = RichTable(title=title, title_justify="left", header_style="bold")
        left = room - _BORDER - sum(widths[place] + _BORDER for place in chosen)
        width = max(name, min(left, _width(first, breaks=False)))
        shown.add_column(header[0], overflow="fold", width=width)
        for place in chosen:
            justify: JustifyMethod = "right" if table.figures else "left"
            shown.add_column(
                header[place + 1], justify=justify, width=widths[place], overflow="fold"
            )
        for row in rows:
            shown.add_row(row[0], *(row[place + 1] for place in chosen))
        console.print(shown, soft_wrap=False, crop=False)
        title = None


def _parts(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Yield places of columns that fit beside each other, all columns in their order."""
    part: list[int] = []
    for place, width in enumerate(widths):
        used = sum(widths[k] + _BORDER for k in part)
        if part and used + width + _BORDER > room:
            yield part
            part = []
        part.append(place)
    yield part


def _width(cells: Sequence[str], *, breaks: bool) -> int:
    """Return the width of a column whose header, the first cell, may break at spaces.

    breaks: so may its other cells.
    """
    words = cells[0].split() if not breaks else [w for cell in cells for w in cell.split()]
    whole = [] if breaks else cells[1:]
    return max(map(len, [*words, *whole]), default=0)


def _joints(name: str) -> str:
    """Return a name that breaks at its joints."""
    return _plain(name).replace(":", ": ").replace("+", " +")


def _plain(cell: str) -> str:
    """Return the text of a Markdown cell."""
    return cell.replace("`", "").replace("**", "")
