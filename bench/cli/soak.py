"""`edge-tta bench soak`: a long run; memory, latency and numbers over it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.adapters import adapter_of
from bench.cli.common import Command, add
from bench.cli.showing import show_table
from bench.report.runs import soak_table
from bench.soak import SoakRow, measure_soak, plot_soak
from bench.untrained import SMALL, small_model
from edge_tta.cli import options, values
from edge_tta.cli.help import CommandParser
from edge_tta.engines.modules import source_network
from edge_tta.errors import ConfigError
from edge_tta.files import check_place
from edge_tta.resident import resident_bytes
from edge_tta.run.sinks.curve import need_matplotlib


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench soak",
        description="Runs many frames as edge-tta run does, with a state file, changing light and "
        "black frames in between, and tells whether memory, latency and numbers stay. The model "
        "small (the default) is a network of two layers of this command's own.",
    )
    options.add_model(parser, default=SMALL)
    add(parser, "--methods", default="nanoadapt:tent")
    add(parser, "--preset")
    parser.add_argument("--frames", type=values.count, default=200_000, help="(default: 200000)")
    parser.add_argument("--save-every", type=values.positive, default=1.0, metavar="S")
    add(parser, "--seed", help="of the frames")
    add(parser, "--json")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="memory and latency")
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code: 1 where a number was not finite."""
    command = Command(parser(), argv)
    arguments = command.arguments
    options.use_threads(arguments.threads)
    if resident_bytes() is None:
        raise ConfigError("bench soak reads /proc, which only Linux has; run it there")
    if arguments.plot is not None:
        check_place(arguments.plot)
        need_matplotlib()
    with command.console.status("Loading the network"):
        model = small_model() if arguments.model == SMALL else options.model_from(arguments)
        network = source_network(model.module, arguments.device, model.task)
    rows: list[SoakRow] = []
    with tempfile.TemporaryDirectory() as folder, command.progress() as progress:
        for number, (label, config) in enumerate(command.methods.items()):
            task = progress.add_task(label, total=arguments.frames)
            rows.append(
                measure_soak(
                    adapter_of(network, config, model.input),
                    label,
                    arguments.frames,
                    model=Path(model.name).name,
                    state=Path(folder) / f"{number}.safetensors",
                    save_every_s=arguments.save_every,
                    seed=arguments.seed,
                    advance=partial(progress.advance, task),
                )
            )
    plain = [row.as_dict() for row in rows]
    show_table(soak_table(plain))
    command.write(plain)
    if arguments.plot is not None:
        plot_soak(rows, arguments.plot)
    return 0 if all(row.finite for row in rows) else 1
