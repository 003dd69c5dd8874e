"""`edge-tta bench guard`: methods, with and without the guard, on streams built to break them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from bench.guard.measure import GuardRow, measure_guard
from bench.guard.streams import AROUND, STREAMS
from bench.methods import GUARD, SYNTAX, is_guarded, parse_methods
from bench.results import make_results, write_results
from bench.sets import CLEAN, check_classes, load_set
from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.errors import ConfigError
from edge_tta.files import check_place


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta bench guard",
        description="Error of methods before, during and after what is to break adaptation, one "
        f"frame at a time; {AROUND} pictures before and after.",
    )
    options.add_model(parser)
    parser.add_argument("--data", required=True, metavar="SET", help="labelled, as in bench error")
    parser.add_argument(
        "--methods",
        default="source,nanoadapt:tent,nanoadapt:tent+guard",
        help=f"separated by commas: {SYNTAX}",
    )
    parser.add_argument("--preset", default="edge", help="of methods that name none")
    parser.add_argument(
        "--streams", default=",".join(STREAMS), metavar="NAME[,NAME...]", help=" | ".join(STREAMS)
    )
    parser.add_argument(
        "--base",
        default=CLEAN,
        metavar="NAME[,NAME...]",
        help="corruption of the pictures around (default: clean)",
    )
    parser.add_argument("--frames", type=options.count, default=1000, help="during (default: 1000)")
    parser.add_argument("--cold", action="store_true", help="begin with what breaks it")
    parser.add_argument("--limit", type=options.count, help="the first so many pictures")
    parser.add_argument(
        "--seed", type=options.natural, default=0, help="of the order and the class"
    )
    parser.add_argument("--seeds", type=options.count, default=1, help="how many, from --seed on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file")
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    console = terminal(stderr=True)
    options.use_threads(arguments.threads)
    if arguments.json is not None:
        check_place(arguments.json)
    configs = parse_methods(arguments.methods, arguments.preset)
    methods = {label: (config, is_guarded(label)) for label, config in configs.items()}
    streams, bases = _names(arguments.streams), _names(arguments.base)
    for name in streams:
        if name not in STREAMS:
            raise ConfigError(f"unknown stream {name!r}; expected one of {', '.join(STREAMS)}")
    with console.status("Loading the network and the pictures"):
        model = options.model_from(arguments)
        network = Adapter(model.module, "source", device=arguments.device).network
        program = network.program(model.input.shape)
        options.check_labels(model.labels, program.classes)
        data = load_set(
            arguments.data, model.input.size, limit=arguments.limit, classes=model.labels
        )
        check_classes(arguments.data, data, program.classes)
    for base in bases:
        if base not in data.corruptions:
            raise ConfigError(
                f"{arguments.data} has no {base!r}; it has {', '.join(data.corruptions)}"
            )
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    length = arguments.frames + (1 if arguments.cold else 2) * AROUND
    rows: list[GuardRow] = []
    with Progress(console=console, disable=not console.is_terminal) as progress:
        total = length * len(methods) * len(streams) * len(bases) * len(seeds)
        task = progress.add_task("streams", total=total)
        for found in measure_guard(
            network,
            model.input,
            data,
            methods,
            streams,
            bases,
            frames=arguments.frames,
            seeds=seeds,
            before=not arguments.cold,
            model=Path(model.name).name,
            advance=lambda frames: progress.advance(task, frames),
        ):
            rows += found
            progress.console.print(_line(found))
            if arguments.json is not None:
                results = make_results(
                    arguments.json.name,
                    ["bench", "guard", *argv],
                    [row.as_dict() for row in rows],
                    {
                        label: config.as_dict() | ({GUARD: True} if guarded else {})
                        for label, (config, guarded) in methods.items()
                    },
                )
                write_results(arguments.json, results)
    terminal().print(guard_table(rows))
    return 0


def guard_table(rows: Sequence[GuardRow]) -> Table:
    """Errors in %: streams and parts down, methods across; then what the guard did."""
    labels = list(dict.fromkeys(row.label for row in rows))
    table = Table(title="error %", title_justify="left", header_style="bold")
    for name in ("stream", "pictures", "seed", "part"):
        table.add_column(name, no_wrap=True)
    for label in labels:
        table.add_column(label.replace(":", ": ").replace("+", " +"), justify="right", min_width=4)
    table.add_column("falls", justify="right")
    table.add_column("source ran", justify="right")
    cells: dict[tuple[str, str, int, str], dict[str, GuardRow]] = {}
    for row in rows:
        cells.setdefault((row.stream, row.base, row.seed, row.part), {})[row.label] = row
    for (stream, base, seed, part), own in cells.items():
        guard = next((row for row in own.values() if row.falls is not None), None)
        table.add_row(
            *(stream, base, str(seed), part),
            *(_percent(own[label].stream_error) if label in own else "" for label in labels),
            "" if guard is None else str(guard.falls),
            "" if guard is None or guard.source_share is None else f"{guard.source_share:.0%}",
            end_section=part == "after",
        )
    return table


def _line(rows: Sequence[GuardRow]) -> str:
    parts = ", ".join(f"{row.part} {_percent(row.stream_error)}" for row in rows)
    return f"{rows[0].stream}, {rows[0].base}, seed {rows[0].seed}, {rows[0].label}: {parts}"


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:.1f}"


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
