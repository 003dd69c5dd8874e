"""`edge-tta bench memory`: what each method needs, in a fresh process for each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from bench.cli.cost import add_options, cases_of, mib, model_options
from bench.cost.memory import HOW, MeasureError, measure_memory
from bench.results import make_results, write_results
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta bench memory",
        description="Memory of methods that adapt to one frame at a time, each in a process of its "
        "own, and of peers.",
    )
    add_options(parser)
    parser.add_argument(
        "--frames", type=options.count, default=24, metavar="N", help="adapted to (default: 24)"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    console = terminal(stderr=True)
    cases, methods = cases_of(arguments, console)
    rows: list[dict[str, Any]] = []
    failed: list[MeasureError] = []
    for case in cases:
        with console.status(f"{case.label}, {case.device}"):
            try:
                row = measure_memory(
                    case,
                    model_options(arguments),
                    frames=arguments.frames,
                    source=arguments.source,
                )
            except MeasureError as error:
                failed.append(error)
                console.print(f"left out: {error}")
                continue
        rows.append(row)
        if arguments.json is not None:
            fields = {label: config.as_dict() for label, config in methods.items()}
            name = arguments.json.name
            results = make_results(name, ["bench", "memory", *argv], rows, fields)
            write_results(arguments.json, results)
    if not rows:
        raise failed[-1]
    terminal().print(memory_table(rows))
    for name, how in (rows[0].get("how") or HOW).items():
        console.print(f"{name}: {how}", style="dim", highlight=False)
    return 0


def memory_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """MiB by method; saved as a share of stock Tent's."""
    table = Table(title="MiB", title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    names = ("process peak", "above imports", "loaded", "imports", "saved", "/ stock")
    for name in (*names, "state", "weights", "CUDA allocated", "CUDA reserved"):
        table.add_column(name, justify="right")
    for row in rows:
        stock = next(
            (r for r in rows if r["label"] == "tent-stock" and r["device"] == row["device"]), None
        )
        share = f"{row['saved_bytes'] / stock['saved_bytes']:.3f}" if stock else "-"
        cells = [
            mib(row.get(f"{name}_bytes"))
            for name in ("process_peak", "above_import", "loaded", "import", "saved")
        ]
        more = [
            mib(row.get(f"{name}_bytes"))
            for name in ("state", "weight", "cuda_allocated", "cuda_reserved")
        ]
        device = "" if row["device"] == "cpu" else f", {row['device']}"
        table.add_row(row["label"] + device, *cells, share, *more)
    return table
