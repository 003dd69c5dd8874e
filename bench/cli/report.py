"""`edge-tta bench report`: one page with tables and plots from result files."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress

from bench.cli.common import Command
from bench.report import check_report_folder, make_sections, write_report
from bench.report.document import plots_of
from bench.results import Results, Row, read_results
from edge_tta.cli.help import CommandParser
from edge_tta.cli.terminal import terminal
from edge_tta.run.sinks.curve import need_matplotlib


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench report",
        description="Writes report.md, and plots beside it, from result files of edge-tta bench.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="result files (--json)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--mix-machines", action="store_true", help="results of different machines together"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(argv)
    need_matplotlib()
    check_report_folder(arguments.out)
    # A file that is named twice counts once.
    paths = list({path.resolve(): path for path in arguments.files}.values())
    results = [read_results(path) for path in paths]
    names = Counter(path.name for path in paths)
    report(
        [
            file if names[path.name] == 1 else replace(file, name=path.as_posix())
            for path, file in zip(paths, results, strict=True)
        ],
        arguments.out,
        inputs=paths,
        mix_machines=arguments.mix_machines,
    )
    return 0


def report_rows(command: Command, rows: Sequence[Row]) -> None:
    """Writes a report on rows of a measurement that was asked for one (`--report`).

    Raises:
        EdgeTTAError: see `make_sections` and `write_report`.
    """
    arguments = command.arguments
    if arguments.report is not None:
        inputs = [] if arguments.json is None else [arguments.json]
        report([command.results(rows)], arguments.report, inputs=inputs)


def report(
    files: Sequence[Results],
    folder: Path,
    *,
    inputs: Iterable[Path] = (),
    mix_machines: bool = False,
) -> None:
    """Writes a report and says where it is.

    Raises:
        EdgeTTAError: see `make_sections` and `write_report`.
    """
    console = terminal(stderr=True)
    sections = make_sections(files, mix_machines=mix_machines)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("drawing", total=len(plots_of(sections)))
        page = write_report(sections, folder, inputs=inputs, advance=lambda: progress.advance(task))
    console.print(f"wrote {page} and {page.with_suffix('.html')}")
