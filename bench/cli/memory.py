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

COLUMNS = {
    "process_peak": "peak",
    "above_import": "above imports",
    "loaded": "loaded",
    "saved": "saved",
    "state": "state",
    "weight": "weights",
    "cuda_allocated": "CUDA allocated",
    "cuda_reserved": "CUDA reserved",
}


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
    shown = [name for name in COLUMNS if any(row.get(f"{name}_bytes") is not None for row in rows)]
    for name in shown:
        table.add_column(COLUMNS[name], justify="right")
        if name == "saved":
            table.add_column("/ stock", justify="right")
    for row in rows:
        cells = []
        for name in shown:
            cells.append(mib(row.get(f"{name}_bytes")))
            if name == "saved":
                cells.append(share_of_stock(row, rows))
        device = "" if row["device"] == "cpu" else f", {row['device']}"
        table.add_row(row["label"] + device, *cells)
    return table


def share_of_stock(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Saved bytes over those of stock Tent on the same device."""
    for other in rows:
        if other["label"] == "tent-stock" and other["device"] == row["device"]:
            return f"{row['saved_bytes'] / other['saved_bytes']:.3f}"
    return "-"
