"""`edge-tta bench guard`: methods, with and without the guard, on streams built to break them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.cli.common import Command, add, listed
from bench.cli.showing import show_table
from bench.guard.measure import GuardRow, Streams, Subject, measure_guard
from bench.guard.streams import AROUND, STREAMS
from bench.report.runs import guard_table
from bench.sets import CLEAN, load_set
from edge_tta.cli import options, values
from edge_tta.cli.help import CommandParser
from edge_tta.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench guard",
        description="Error of methods before, during and after what is to break adaptation, one "
        f"frame at a time; {AROUND} pictures before and after.",
    )
    options.add_model(parser)
    add(parser, "--data", help="labelled, as in bench error")
    add(parser, "--methods", default="source,nanoadapt:tent,nanoadapt:tent+guard")
    add(parser, "--preset")
    parser.add_argument(
        "--streams",
        type=listed(str),
        default=STREAMS,
        metavar="NAME[,NAME...]",
        help=" | ".join(STREAMS),
    )
    parser.add_argument(
        "--base",
        type=listed(str),
        default=(CLEAN,),
        metavar="NAME[,NAME...]",
        help="corruption of the pictures around (default: clean)",
    )
    parser.add_argument("--frames", type=values.count, default=1000, help="during (default: 1000)")
    parser.add_argument("--cold", action="store_true", help="begin with what breaks it")
    add(parser, "--limit")
    add(parser, "--seed", help="of the order and the class")
    add(parser, "--seeds", "--json")
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    command = Command(parser(), argv)
    arguments, methods = command.arguments, command.methods
    for name in arguments.streams:
        if name not in STREAMS:
            raise ConfigError(f"unknown stream {name!r}; expected one of {', '.join(STREAMS)}")
    with command.console.status("Loading the network and the pictures"):
        network = command.network()
        data = command.pictures(network, load_set)
    for base in arguments.base:
        if base not in data.corruptions:
            raise ConfigError(
                f"{arguments.data} has no {base!r}; it has {', '.join(data.corruptions)}"
            )
    length = arguments.frames + (1 if arguments.cold else 2) * AROUND
    runs = len(methods) * len(arguments.streams) * len(arguments.base) * arguments.seeds
    rows: list[dict[str, object]] = []
    with command.progress() as progress:
        task = progress.add_task("streams", total=length * runs)
        for measured in measure_guard(
            Subject(network.source, network.model.input, network.name),
            data,
            methods,
            Streams(
                arguments.streams,
                arguments.base,
                arguments.frames,
                command.seeds,
                before=not arguments.cold,
            ),
            advance=lambda frames: progress.advance(task, frames),
        ):
            rows += [row.as_dict() for row in measured]
            progress.console.print(_line(measured))
            command.write(rows)
    show_table(guard_table(rows), "error %")
    return 0


def _line(rows: Sequence[GuardRow]) -> str:
    errors = ("-" if row.stream_error is None else f"{100 * row.stream_error:.1f}" for row in rows)
    parts = ", ".join(f"{row.part} {error}" for row, error in zip(rows, errors, strict=True))
    return f"{rows[0].stream}, {rows[0].base}, seed {rows[0].seed}, {rows[0].label}: {parts}"
