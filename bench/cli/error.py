"""`edge-tta bench error`: methods on a labelled set, at any batch size and order."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from bench.cli.report import report
from bench.drift import load_drift_set
from bench.error import ErrorRow, mean_of, measure_error
from bench.methods import GUARD, SYNTAX, is_guarded, parse_methods
from bench.orders import parse_order
from bench.report import check_report_folder
from bench.results import Results, make_results, write_results
from bench.sets import LabelledSet, check_classes, load_set
from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.config import SAVED
from edge_tta.files import check_place
from edge_tta.run.sinks.curve import need_matplotlib


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta bench error",
        description="Error of methods on streams of corrupted pictures; the state starts from the "
        "source for each corruption (but continual, mixed, drift).",
    )
    options.add_model(parser)
    parser.add_argument(
        "--data", required=True, metavar="SET", help=".npz, CIFAR-C folder, ImageNet-C tree, folder"
    )
    parser.add_argument(
        "--methods",
        default="source,norm,tent,nanoadapt:norm,nanoadapt:tent",
        help=f"separated by commas: {SYNTAX}; tent@scaled: learning rate by batch size",
    )
    parser.add_argument("--preset", default="edge", help="of methods that name none")
    parser.add_argument(
        "--batch-size", type=_counts, default=(1,), metavar="N[,N...]", help="frames at a time"
    )
    parser.add_argument(
        "--order",
        default="iid",
        metavar="ORDER[,ORDER...]",
        help="iid | correlated:L | still:L | continual | mixed | drift",
    )
    parser.add_argument("--severity", type=int, choices=range(1, 6), default=5, help="1 to 5")
    parser.add_argument("--corruptions", metavar="NAME[,NAME...]", help="only these")
    parser.add_argument("--limit", type=options.count, help="the first so many pictures")
    parser.add_argument("--seed", type=options.natural, default=0, help="of the order")
    parser.add_argument("--seeds", type=options.count, default=1, help="how many, from --seed on")
    parser.add_argument(
        "--saved",
        choices=SAVED,
        default="stock",
        help="precision of what waits for the backward pass (default: stock, PyTorch's own)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="result file")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="folder for a page with tables and plots"
    )
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    console = terminal(stderr=True)
    options.use_threads(arguments.threads)
    if arguments.json is not None:
        check_place(arguments.json)
    if arguments.report is not None:
        need_matplotlib()
        check_report_folder(arguments.report)
    methods = parse_methods(arguments.methods, arguments.preset)
    guarded = {label for label in methods if is_guarded(label)}
    orders = [parse_order(part.strip()) for part in arguments.order.split(",")]
    with console.status("Loading the network and the pictures"):
        model = options.model_from(arguments)
        network = Adapter(model.module, "source", device=arguments.device).network
        program = network.program(model.input.shape, arguments.saved)
        options.check_labels(model.labels, program.classes)
        names = (name.strip() for name in (arguments.corruptions or "").split(","))
        only = list(dict.fromkeys(filter(None, names))) or None
        sets: dict[bool, LabelledSet] = {}  # one whose severity drifts, or one of one severity
        for drifts in dict.fromkeys(order.name == "drift" for order in orders):
            load = load_drift_set if drifts else partial(load_set, severity=arguments.severity)
            sets[drifts] = load(
                arguments.data,
                model.input.size,
                limit=arguments.limit,
                only=only,
                classes=model.labels,
            )
            check_classes(arguments.data, sets[drifts], program.classes)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    rows: list[ErrorRow] = []

    def results() -> Results:
        return make_results(
            "this run" if arguments.json is None else arguments.json.name,
            ["bench", "error", *argv],
            [row.as_dict() for row in rows],
            {
                label: config.as_dict() | ({GUARD: True} if label in guarded else {})
                for label, config in methods.items()
            },
        )

    with Progress(console=console, disable=not console.is_terminal) as progress:
        for order in orders:
            data = sets[order.name == "drift"]
            frames = len(methods) * len(seeds) * len(data) * len(data.corruptions) * order.repeats
            for batch_size in arguments.batch_size:
                title = f"{order}, N={batch_size}"
                task = progress.add_task(title, total=frames)
                for found in measure_error(
                    program,
                    model.input,
                    data,
                    methods,
                    order=order,
                    batch_size=batch_size,
                    seeds=seeds,
                    model=Path(model.name).name,
                    guarded=guarded,
                    network=network,
                    advance=partial(progress.advance, task),
                ):
                    rows += found
                    progress.console.print(_line(found))
                    if arguments.json is not None:  # each time: hours may not be lost
                        write_results(arguments.json, results())
    for table in error_tables(rows):
        terminal().print(table)
    if arguments.report is not None:
        inputs = [] if arguments.json is None else [arguments.json]
        report([results()], arguments.report, inputs=inputs)
    return 0


def error_tables(rows: Sequence[ErrorRow]) -> Iterator[Table]:
    """A table for each order and batch size."""
    settings: dict[tuple[str, int], list[ErrorRow]] = {}
    for row in rows:
        settings.setdefault((row.order, row.batch_size), []).append(row)
    for (order, batch_size), own in settings.items():
        yield _table(f"error %, {order}, N = {batch_size}", own)


def _table(title: str, rows: Sequence[ErrorRow]) -> Table:
    """Corruptions down, methods across; the mean (with its interval) leaves clean pictures out."""
    methods: dict[str, dict[str, ErrorRow]] = {}
    for row in rows:
        methods.setdefault(row.label, {})[row.corruption] = row
    corruptions = list(dict.fromkeys(row.corruption for row in rows))
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("corruption", no_wrap=True)
    for label in methods:
        # Long names break at their joints.
        table.add_column(label.replace(":", ": ").replace("+", " +"), justify="right", min_width=4)
    for name in corruptions:
        cells = [f"{100 * own[name].error:.1f}" if name in own else "-" for own in methods.values()]
        table.add_row(name, *cells, end_section=name == corruptions[-1])
    means = [mean_of(list(own.values())) for own in methods.values()]
    table.add_row("mean", *(f"{100 * mean.error:.1f}" for mean in means), style="bold")
    table.add_row("95 % from", *(f"{100 * mean.low:.1f}" for mean in means))
    table.add_row("95 % to", *(f"{100 * mean.high:.1f}" for mean in means))
    return table


def _line(rows: Sequence[ErrorRow]) -> str:
    first, mean = rows[0], mean_of(rows)
    return (
        f"{first.order}, N={first.batch_size}, {first.label}: {100 * mean.error:.2f} % "
        f"({100 * mean.low:.1f} to {100 * mean.high:.1f})"
    )


def _counts(text: str) -> tuple[int, ...]:
    return tuple(options.count(part) for part in text.split(","))
