"""`edge-tta bench faults`: a run killed at random moments; is the state ever lost?"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.adapters import adapter_of
from bench.cli.common import Command, add
from bench.cli.showing import show_table
from bench.faults import measure_kills
from bench.methods import EVERY, FILTER, GUARD, SYNTAX, every_of, is_filtered, is_guarded
from bench.report.runs import faults_table
from bench.untrained import SMALL, small_model
from edge_tta.adapter import Adapter
from edge_tta.cli import options, values
from edge_tta.cli.help import CommandParser
from edge_tta.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench faults",
        description="Kills a run (kill -9) at random moments, again and again, and looks at the "
        "state file that it leaves. The model small (the default) is a network of two layers.",
    )
    options.add_model(parser, default=SMALL)
    parser.add_argument("--method", dest="methods", default="nanoadapt:tent", help=SYNTAX)
    add(parser, "--preset", help="where the method names none")
    parser.add_argument("--kills", type=values.count, default=200, help="(default: 200)")
    add(parser, "--seed", help="of the moments")
    add(parser, "--json")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code: 1 where a state was lost."""
    if not hasattr(os, "fork"):
        raise ConfigError("bench faults forks processes, which this system cannot; use Linux")
    command = Command(parser(), argv)
    arguments = command.arguments
    if len(command.methods) != 1:
        raise ConfigError(f"--method must be one method, got {arguments.methods!r}")
    ((label, config),) = command.methods.items()
    if is_guarded(label) or is_filtered(label) or every_of(label) > 1:
        raise ConfigError(
            f"--method must be a method alone, and {label} has something around it, which is not "
            f"what is killed here; leave +{GUARD}, +{FILTER} and +{EVERY} out"
        )

    def make() -> Adapter:
        options.use_threads(1)
        model = small_model() if arguments.model == SMALL else options.model_from(arguments)
        return adapter_of(model.module, config, model.input, task=model.task)

    with (
        tempfile.TemporaryDirectory() as folder,
        # No thread of its own: the runs are forked.
        command.progress(auto_refresh=False) as progress,
    ):
        task = progress.add_task(label, total=arguments.kills)
        row = measure_kills(
            make,
            Path(folder),
            arguments.kills,
            model=Path(arguments.model).name,
            method=label,
            seed=arguments.seed,
            advance=lambda: progress.update(task, advance=1, refresh=True),
        )
    show_table(faults_table([row.as_dict()]))
    command.write([row.as_dict()])
    return 0 if row.ok else 1
