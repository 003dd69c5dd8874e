"""`edge-tta bench faults`: a run killed at random moments; is the state ever lost?"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from bench.adapters import adapter_of
from bench.faults import KillRow, measure_kills
from bench.methods import SYNTAX, parse_methods
from bench.results import make_results, write_results
from bench.soak.network import NAME, small_model
from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.errors import ConfigError
from edge_tta.files import check_place


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta bench faults",
        description="Kills a run (kill -9) at random moments, again and again, and looks at the "
        "state file that it leaves. The model small (the default) is a network of two layers.",
    )
    options.add_model(parser, default=NAME)
    parser.add_argument("--method", default="nanoadapt:tent", help=SYNTAX)
    parser.add_argument("--preset", default="edge", help="where the method names none")
    parser.add_argument("--kills", type=options.count, default=200, help="(default: 200)")
    parser.add_argument("--seed", type=options.natural, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code: 1 where a state was lost."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    console = terminal(stderr=True)
    if not hasattr(os, "fork"):
        raise ConfigError("bench faults forks processes, which this system cannot; use Linux")
    if arguments.json is not None:
        check_place(arguments.json)
    methods = parse_methods(arguments.method, arguments.preset)
    if len(methods) != 1:
        raise ConfigError(f"--method must be one method, got {arguments.method!r}")
    ((label, config),) = methods.items()
    small = arguments.model == NAME

    def make() -> Adapter:
        options.use_threads(1)
        model = small_model() if small else options.model_from(arguments)
        return adapter_of(model.module, config, model.input)

    with (
        tempfile.TemporaryDirectory() as folder,
        # No thread of its own: the runs are forked.
        Progress(console=console, disable=not console.is_terminal, auto_refresh=False) as progress,
    ):
        task = progress.add_task(label, total=arguments.kills)

        def advance() -> None:
            progress.advance(task)
            progress.refresh()

        row = measure_kills(
            make,
            Path(folder),
            arguments.kills,
            model=Path(arguments.model).name,
            method=label,
            seed=arguments.seed,
            advance=advance,
        )
    terminal().print(kill_table(row))
    if arguments.json is not None:
        name, words = arguments.json.name, ["bench", "faults", *argv]
        write_results(
            arguments.json, make_results(name, words, [row.as_dict()], {label: config.as_dict()})
        )
    return 0 if row.ok else 1


def kill_table(row: KillRow) -> Table:
    """What was counted."""
    table = Table(title=f"{row.kills} kills, {row.method}", title_justify="left")
    table.add_column("what")
    table.add_column("", justify="right")
    for what, value in (
        ("kills in mid-write", str(row.in_mid_write)),
        ("states that cannot be read", str(row.unreadable)),
        ("finished saves that were lost", str(row.lost_saves)),
        ("states older than before", str(row.backward)),
        ("unfinished files left after the next start", str(row.leftovers)),
        ("longest loss (s)", f"{row.longest_loss_s:.3f}"),
        ("longest loss beyond the interval (s)", f"{row.longest_loss_over_interval_s:.3f}"),
    ):
        table.add_row(what, value)
    return table
