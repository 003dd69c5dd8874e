"""A folder with `report.md`, its plots, and `report.html`, from any set of results."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.report import dense, restored, runs
from bench.report.cost import latency, memory, tradeoff
from bench.report.document import Plot, Section, markdown, plots_of
from bench.report.error import sections as error_sections
from bench.report.look import STYLE
from bench.report.merging import check_machines, merge
from bench.report.page import html_page
from bench.report.provenance import provenance
from bench.results import ResultError, Results, Row, rows_of
from edge_tta.errors import OutputError
from edge_tta.files import check_place, write_whole

PAGE = "report.md"
HTML = "report.html"
KINDS: dict[str, tuple[str, Callable[[Sequence[Row], Any], list[Section]]]] = {
    "source_frames": ("restored", restored.sections),
    **dict.fromkeys(dense.SCORES, ("error", dense.sections)),
    "error": ("error", error_sections),
    "stream_error": ("guard", runs.guard_sections),
    "soak": ("soak", runs.soak_sections),
    "fault": ("faults", runs.faults_sections),
    "latency_s": ("latency", latency.sections),
    "process_peak_bytes": ("memory", memory.sections),
}
"""The command that writes rows, and the sections on them, by the field that tells such rows: the
first that a row has."""

_FORMER = "measure"
"""A field of rows of `bench bundle`, which earlier versions had."""


def _kind(row: Row) -> str | None:
    """The field of KINDS that tells what a row is of; None: none does."""
    return None if _FORMER in row else next((field for field in KINDS if field in row), None)


def check_report_folder(folder: Path) -> None:
    """Refuses a place where no report can be written, before the work.

    Raises:
        OutputError: a file, no permission, or the folder above is not there.
    """
    if folder.is_dir():
        check_place(folder / PAGE)
    elif folder.exists():
        raise OutputError(f"cannot make the folder {folder}: it is a file; choose another name")
    else:
        check_place(folder)


def make_sections(files: Sequence[Results], *, mix_machines: bool = False) -> list[Section]:
    """The whole page.

    Raises:
        ResultError: results of different machines (but `mix_machines`), or of no known kind.
    """
    if not mix_machines:
        check_machines(files)
    merged = merge(files)
    sections: list[Section] = []
    known = 0
    for field, (command, sections_on) in KINDS.items():
        rows = [row for row in merged.rows if _kind(row) == field]
        if rows:
            with rows_of(command):
                sections += sections_on(rows, merged.methods)
            known += len(rows)
    if not known:
        raise ResultError(
            f"{', '.join(file.name for file in files)}: no row has any of {', '.join(KINDS)}; "
            "expected results of edge-tta bench error, latency or memory"
        )
    if known < len(merged.rows):
        left = len(merged.rows) - known
        sections.append(Section("Left out", [f"{left} rows are of kinds not reported here."]))
    # After the others, which say what is wrong with a row.
    together = tradeoff.sections(merged.rows)
    return [Section("Results", level=1), *together, *sections, provenance(merged)]


def write_report(
    sections: Sequence[Section],
    folder: Path,
    *,
    inputs: Iterable[Path] = (),
    advance: Callable[[], None] = lambda: None,
) -> Path:
    """Writes the page and its plots; returns the page's path.

    Args:
        folder: made if it is not there; other files in it stay.
        inputs: files that must not be overwritten.
        advance: called after each plot.

    Raises:
        OutputError: something cannot be written, or would replace an input.
    """
    check_report_folder(folder)
    plots = plots_of(sections)
    page = folder / PAGE
    places = [page, folder / HTML, *(folder / f"{plot.name}.png" for plot in plots)]
    taken = {path.resolve() for path in inputs}
    for place in places:
        if place.resolve() in taken:
            raise OutputError(f"{place} is an input and would be replaced; choose another --out")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    pictures: dict[str, bytes] = {}
    for plot, place in zip(plots, places[2:], strict=True):
        pictures[place.name] = picture(plot)
        write_whole(place, pictures[place.name])
        advance()
    text = markdown(sections)
    write_whole(page, text.encode())
    write_whole(folder / HTML, html_page(text, pictures, sections[0].title).encode())
    return page


def picture(plot: Plot) -> bytes:
    """The plot as a PNG file."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context(STYLE):
        plot.draw().savefig(buffer, format="png")
    return buffer.getvalue()
