"""`edge-tta bench error`: methods on a labelled set, at any batch size and order."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.cli import dense
from bench.cli.common import Command, add, listed
from bench.cli.report import report_rows
from bench.cli.showing import show_table
from bench.dense.measure import check_measured
from bench.drift import load_drift_set
from bench.error import ErrorRow, Run, Runner, Setting, in_processes, mean_of, measure_error
from bench.methods import SYNTAX
from bench.orders import parse_order
from bench.peers import Peer, known_peers, parse_peers
from bench.report import check_report_folder
from bench.report.document import Table
from bench.report.error import corruptions
from bench.report.error.results import ErrorResults
from bench.report.look import Look
from bench.sets import LabelledSet, load_set
from edge_tta.bundle.runtime import usable_cores
from edge_tta.cli import options, values
from edge_tta.cli.help import CommandParser
from edge_tta.config import SAVED, MethodConfig
from edge_tta.engines.modules import source_network
from edge_tta.errors import ConfigError
from edge_tta.run.sinks.curve import need_matplotlib

_LEAST_STREAMS = 4
_USUAL = "source,norm,tent,nanoadapt:norm,nanoadapt:tent"


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench error",
        description="Error of methods on streams of corrupted pictures; the state starts from the "
        "source for each corruption (but continual, mixed, drift).",
    )
    options.add_model(parser)
    add(
        parser,
        "--data",
        help=".npz (of inputs that are no pictures too), CIFAR-C folder, ImageNet-C tree, folder",
    )
    add(
        parser,
        "--methods",
        help=f"separated by commas: {SYNTAX}; tent@scaled: learning rate by batch size (default: "
        f"those of {_USUAL} that the task has)",
    )
    add(parser, "--preset")
    parser.add_argument(
        "--peers",
        default="none",
        metavar="NAME[=FOLDER],...",
        help=f"{' | '.join(known_peers())} (default)",
    )
    parser.add_argument(
        "--batch-size",
        type=listed(values.count),
        default=(1,),
        metavar="N[,N...]",
        help="frames at a time",
    )
    parser.add_argument(
        "--order",
        metavar="ORDER[,ORDER...]",
        help="iid | correlated:L | still:L | natural | continual | mixed | drift (default: iid; "
        "segment, detect: natural alone)",
    )
    parser.add_argument("--severity", type=int, choices=range(1, 6), default=5, help="1 to 5")
    parser.add_argument(
        "--corruptions",
        type=listed(str),
        metavar="NAME[,NAME...]",
        help="only these (default: all of the set); segment, detect: to be made, as fog:3 or clean "
        "(default: clean)",
    )
    parser.add_argument(
        "--stride",
        type=values.count,
        default=1,
        help="segment, detect: every so many pictures (default: 1)",
    )
    parser.add_argument(
        "--ignore",
        type=listed(values.natural),
        default=(),
        metavar="K[,K...]",
        help="segment: numbers in masks that are no label (default: none)",
    )
    add(parser, "--limit")
    add(parser, "--seed", help="of the order")
    add(parser, "--seeds")
    parser.add_argument(
        "--saved",
        choices=SAVED,
        default="stock",
        help="precision of the activations saved for backward (default: stock, PyTorch's own)",
    )
    add(parser, "--json")
    add(parser, "--backend", "--int8")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="folder for a page with tables and plots"
    )
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    command = Command(parser(), argv)
    arguments = command.arguments
    peers = parse_peers(arguments.peers)
    if arguments.report is not None:
        need_matplotlib()
        check_report_folder(arguments.report)
    orders = [parse_order(part.strip()) for part in (arguments.order or "iid").split(",")]
    by_one = [name for name, peer in peers.items() if peer.folder and name.startswith("UniTTA/")]
    if by_one and arguments.batch_size != (1,):
        raise ConfigError(f"{by_one[0]} is measured frame by frame; leave --batch-size out")
    with command.console.status("Loading the network and the pictures"):
        network = command.network(arguments.saved)
        command.check_backend(network.program.task)
        check_measured(network.program.task)
        command.choose_methods(network, _USUAL, arguments.saved)
        if not network.program.task.filtered:
            if peers:
                raise ConfigError("peers are of classifiers; leave --peers out")
            return dense.measure(command, network)
        if arguments.stride != 1 or arguments.ignore:
            raise ConfigError("--stride and --ignore are of masks and boxes; leave them out")
        only = list(arguments.corruptions or ()) or None
        sets: dict[bool, LabelledSet] = {}  # one whose severity drifts, or one of one severity
        for drifts in dict.fromkeys(order.name == "drift" for order in orders):
            shape = network.model.input.shape
            of_one = partial(load_set, severity=arguments.severity, shape=shape)
            load = load_drift_set if drifts else of_one
            sets[drifts] = command.pictures(network, load, only=only)
    methods: dict[str, MethodConfig | Peer] = {**peers, **command.methods}
    rows: list[ErrorRow] = []
    plain: list[dict[str, object]] = []
    with command.progress() as progress, ExitStack() as opened:
        bundles = opened.enter_context(command.bundles(network.model, network.source))
        runs: dict[bool, Run] = {}
        for drifts, data in sets.items():
            resets = any(order.resets for order in orders if (order.name == "drift") == drifts)
            streams = len(methods) * arguments.seeds * len(arguments.batch_size)
            streams *= len(data.corruptions) if resets else 1
            count = _processes(arguments, streams)
            here = partial(Runner, network.source, network.model, data, arguments.saved, bundles)
            make = partial(_runner, arguments, data, bundles) if count > 1 else here
            runs[drifts] = opened.enter_context(in_processes(make, count))
        for order, batch_size in itertools.product(orders, arguments.batch_size):
            drifts = order.name == "drift"
            frames = len(sets[drifts]) * len(sets[drifts].corruptions) * order.repeats
            task = progress.add_task(
                f"{order}, N={batch_size}", total=len(methods) * arguments.seeds * frames
            )
            for measured in measure_error(
                runs[drifts],
                sets[drifts],
                methods,
                Setting(order, batch_size, command.seeds),
                model=network.name + (" in int8" if arguments.int8 else ""),
                advance=partial(progress.advance, task),
            ):
                rows += measured
                plain += [row.as_dict() for row in measured]
                progress.console.print(_line(measured))
                command.write(plain)
    for title, table in error_tables(rows):
        show_table(table, title)
    report_rows(command, plain)
    return 0


def _runner(
    arguments: argparse.Namespace, data: LabelledSet, bundles: Mapping[MethodConfig, str]
) -> Runner:
    """Return what runs a stream, in whichever process this is called."""
    model = options.model_from(arguments)
    network = source_network(model.module, arguments.device, model.task)
    return Runner(network, model, data, arguments.saved, bundles)


def _processes(arguments: argparse.Namespace, streams: int) -> int:
    """Return how many processes of one thread each are used: a few streams are not worth any."""
    if arguments.device != "cpu" or streams < _LEAST_STREAMS:
        return 1
    return int(min(arguments.threads or usable_cores(), streams))


def error_tables(rows: Sequence[ErrorRow]) -> Iterator[tuple[str, Table]]:
    """Titles and tables for each order and batch size."""
    results = ErrorResults(rows, {}, Look([row.label for row in rows]))
    for order, size in results.settings():
        for table in corruptions.error_tables(results, order, size):
            yield f"error %, {order}, N = {size}", table


def _line(rows: Sequence[ErrorRow]) -> str:
    first, mean = rows[0], mean_of(rows)
    return (
        f"{first.order}, N={first.batch_size}, {first.label}: {100 * mean.error:.2f} % "
        f"({100 * mean.low:.1f} to {100 * mean.high:.1f})"
    )
