"""`edge-tta bench memory`: what each method needs, in a fresh process for each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from bench.cli.common import Command
from bench.cli.cost import add_options, planned
from bench.cli.showing import show_table
from bench.cost.memory import measure_memory
from bench.cost.process import MeasureError
from bench.report.cost.memory import meanings, table
from edge_tta.cli import values
from edge_tta.cli.help import CommandParser


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench memory",
        description="Memory of methods that adapt to one frame at a time, each in a process of its "
        "own, and of peers.",
    )
    add_options(parser)
    parser.add_argument(
        "--frames", type=values.count, default=24, metavar="N", help="adapted to (default: 24)"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    command = Command(parser(), argv)
    arguments, console = command.arguments, command.console
    rows: list[dict[str, Any]] = []
    failed: list[MeasureError] = []
    with planned(command) as plan:
        for case in plan.cases:
            with console.status(f"{case.label}, {case.device}"):
                try:
                    row = measure_memory(
                        case, plan.model, frames=arguments.frames, source=arguments.source
                    )
                except MeasureError as error:
                    failed.append(error)
                    console.print(f"left out: {error}")
                    continue
            rows.append({"model": plan.name, **row})
            command.write(rows)
    if not rows:
        raise failed[-1]
    show_table(table(rows), "MiB")
    for name, how in meanings(rows):
        console.print(f"{name}: {how}", style="dim", highlight=False)
    return 0
