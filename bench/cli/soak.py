"""`edge-tta bench soak`: a long run; memory, latency and numbers over it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from bench.adapters import adapter_of
from bench.methods import SYNTAX, parse_methods
from bench.results import make_results, write_results
from bench.soak import SoakRow, measure_soak
from bench.soak.network import NAME, small_model
from bench.soak.plot import plot_soak
from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.errors import ConfigError
from edge_tta.files import check_place
from edge_tta.resident import resident_bytes
from edge_tta.run.sinks.curve import need_matplotlib


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta bench soak",
        description="Runs many frames as edge-tta run does, with a state file, changing light and "
        "black frames in between, and tells whether memory, latency and numbers stay. The model "
        "small (the default) is a network of two layers of this command's own.",
    )
    options.add_model(parser, default=NAME)
    parser.add_argument("--methods", default="nanoadapt:tent", help=f"with commas: {SYNTAX}")
    parser.add_argument("--preset", default="edge", help="of methods that name none")
    parser.add_argument("--frames", type=options.count, default=200_000, help="(default: 200000)")
    parser.add_argument("--save-every", type=options.positive, default=1.0, metavar="S")
    parser.add_argument("--seed", type=options.natural, default=0, help="of the frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="memory and latency")
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code: 1 where a number was not finite."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    console = terminal(stderr=True)
    options.use_threads(arguments.threads)
    if resident_bytes() is None:
        raise ConfigError("bench soak reads /proc, which only Linux has; run it there")
    for path in (arguments.json, arguments.plot):
        if path is not None:
            check_place(path)
    if arguments.plot is not None:
        need_matplotlib()
    methods = parse_methods(arguments.methods, arguments.preset)
    with console.status("Loading the network"):
        small = arguments.model == NAME
        model = small_model() if small else options.model_from(arguments)
        network = Adapter(model.module, "source", device=arguments.device).network
    rows: list[SoakRow] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        for number, (label, config) in enumerate(methods.items()):
            task = progress.add_task(label, total=arguments.frames)
            adapter = adapter_of(network, config, model.input)
            rows.append(
                measure_soak(
                    adapter,
                    model.input,
                    arguments.frames,
                    model=Path(model.name).name,
                    state=Path(folder) / f"{number}.safetensors",
                    save_every_s=arguments.save_every,
                    seed=arguments.seed,
                    advance=partial(progress.advance, task),
                )
            )
    terminal().print(soak_table(rows))
    if arguments.json is not None:
        kept = [row.as_dict() for row in rows]
        fields = {label: config.as_dict() for label, config in methods.items()}
        name = arguments.json.name
        write_results(arguments.json, make_results(name, ["bench", "soak", *argv], kept, fields))
    if arguments.plot is not None:
        plot_soak(rows, arguments.plot)
    return 0 if all(row.finite for row in rows) else 1


def soak_table(rows: Sequence[SoakRow]) -> Table:
    """A line a method."""
    table = Table(header_style="bold")
    for column in (
        "method",
        "frames",
        "MiB at the start",
        "MiB at the end",
        "MiB in 100,000 frames",
        "ms a frame, first",
        "last",
        "finite",
    ):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        first, last = row.stretches[0], row.stretches[-1]
        table.add_row(
            row.method,
            str(row.frames),
            f"{first.resident_bytes / 2**20:.1f}",
            f"{last.resident_bytes / 2**20:.1f}",
            f"{row.growth_bytes / 2**20:+.2f}",
            f"{1e3 * first.p50_s:.2f}",
            f"{1e3 * last.p50_s:.2f}",
            "yes" if row.finite else "NO",
        )
    return table
