"""`edge-tta bench latency`: time of a frame, stage by stage, methods and peers in turns."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

from bench.cli.common import Command
from bench.cli.cost import add_options, planned
from bench.cli.showing import show_table
from bench.cost.latency import latency_row, measure_latency, ratios
from bench.cost.process import ready
from bench.report.cost.latency import stage_table, table
from edge_tta.cli import values
from edge_tta.cli.help import CommandParser
from edge_tta.errors import EdgeTTAError


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench latency",
        description="Time of a frame of one stream, for methods and peers that take turns.",
    )
    add_options(parser)
    parser.add_argument(
        "--frames", type=values.count, default=100, metavar="N", help="of each (default: 100)"
    )
    parser.add_argument(
        "--warm-up", type=values.natural, default=5, metavar="N", help="before, not counted"
    )
    parser.add_argument(
        "--turns", type=values.count, default=5, metavar="N", help="to share the frames out over"
    )
    parser.add_argument(
        "--fps",
        type=values.positive,
        metavar="F",
        help="frames come at this rate, as a camera's (default: without a pause)",
    )
    parser.add_argument(
        "--budget-ms", type=values.positive, metavar="MS", help="count the frames that take longer"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    command = Command(parser(), argv)
    arguments, console = command.arguments, command.console
    rows: list[dict[str, Any]] = []
    failed: list[EdgeTTAError] = []

    def leave_out(error: EdgeTTAError) -> None:
        failed.append(error)
        console.print(f"left out: {error}")

    with planned(command) as plan, command.progress() as progress:
        groups = itertools.groupby(plan.cases, key=lambda case: (case.device, case.threads))
        for (device, threads), group in groups:
            task = progress.add_task(f"{device}, {threads or 'all'} threads", total=None)
            given = plan.model, arguments.source, leave_out, arguments.fps
            with ready(list(group), *given) as turns:
                progress.update(task, total=len(turns) * arguments.turns)
                timings = measure_latency(
                    [turn for _, turn in turns],
                    n=arguments.frames,
                    warm_up=arguments.warm_up,
                    turns=arguments.turns,
                    advance=partial(progress.advance, task),
                )
            rows += [
                latency_row(case, plan.name, timing, arguments.budget_ms)
                for (case, _), timing in zip(turns, timings, strict=True)
            ]
            ratios(rows)
            command.write(rows)
    if not rows:
        raise failed[-1]
    show_table(table(rows), "ms a frame")
    show_table(stage_table(rows), "ms by stage (mean)")
    for row in rows:
        if row["unstable"]:
            console.print(f"unstable: {row['label']}: {row['unstable']}", style="yellow")
    return 0
