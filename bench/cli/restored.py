"""`edge-tta bench restored`: what comes back from an ONNX file with its BatchNorms folded."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.cli.common import Command, add, listed
from bench.cli.dense import corruptions_from
from bench.cli.showing import show_table
from bench.cost.torch_subjects import load_model_of
from bench.dense.measure import check_measured
from bench.dense.sets import load_dense_set
from bench.orders import parse_order
from bench.report.restored import parity_table, score_tables
from bench.restored.measure import Streams, measure_variant, variant_row
from bench.restored.variants import variants
from bench.sets import CLEAN, check_classes, load_set
from edge_tta.cli import options, values
from edge_tta.cli.help import CommandParser
from edge_tta.errors import ConfigError, ModelError
from edge_tta.models import Model
from edge_tta.tasks import Classes


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = CommandParser(
        prog="edge-tta bench restored",
        description="Exports a network to ONNX by PyTorch, which folds its BatchNorms, restores "
        "them from source frames, and tells how far its outputs moved and, with --data, how it "
        "adapts beside the network as trained.",
    )
    options.add_model(parser)
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="random weights with statistics that fit them, for torchvision:NAME[,NAME...]",
    )
    parser.add_argument(
        "--counts",
        type=listed(values.count),
        default=(500, 200, 50),
        metavar="N[,N...]",
        help="source frames to restore from (default: 500,200,50)",
    )
    add(parser, "--data", required=False, help="labelled, as in bench error (default: none)")
    add(parser, "--methods", default="source,nanoadapt:tent")
    add(parser, "--preset")
    parser.add_argument("--order", default="iid", metavar="ORDER[,ORDER...]", help="of classifiers")
    parser.add_argument(
        "--batch-size",
        type=values.count,
        default=1,
        metavar="N",
        help="of classifiers (default: 1)",
    )
    parser.add_argument("--severity", type=int, choices=range(1, 6), default=5, help="1 to 5")
    parser.add_argument("--corruptions", type=listed(str), metavar="NAME[,NAME...]")
    parser.add_argument("--stride", type=values.count, default=1, help="segment, detect")
    parser.add_argument("--ignore", type=listed(values.natural), default=(), metavar="K[,K...]")
    add(parser, "--limit")
    add(parser, "--backend", help="of classifiers: torch | onnx, as in bench error")
    add(parser, "--seed", help="of the order")
    add(parser, "--json")
    options.add_machine(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code: 1 where a network did not come back."""
    command = Command(parser(), argv)
    arguments, console = command.arguments, command.console
    if arguments.source_frames is None:
        raise ConfigError("--source-frames is missing: what the network is restored from")
    options.use_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    failed = 0
    for model in _models(arguments):
        name = Path(model.name).name
        try:
            for row in _measured(command, model, name):
                rows.append(row)
                command.write(rows)
        except (ModelError, RuntimeError) as error:
            failed += 1
            console.print(f"{name}: {error}")
    for title, table in score_tables(rows):
        show_table(table, title)
    show_table(parity_table(rows), "restored")
    return 1 if failed else 0


def _models(arguments: argparse.Namespace) -> Iterator[Model]:
    """Yield the models named, one at a time: large ones do not fit in memory together."""
    plain = argparse.Namespace(**{**vars(arguments), "source_frames": None})
    names = arguments.model.split(",") if arguments.untrained else [arguments.model]
    for name in names:
        plain.model = name
        model = load_model_of(plain)
        yield model if model.task else model.with_task(arguments.task)


def _measured(command: Command, model: Model, name: str) -> Iterator[dict[str, Any]]:
    arguments, console = command.arguments, command.console
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        progress = stack.enter_context(command.progress())
        bar = progress.add_task(name, total=None)
        streams: Streams | None = None
        frames, counts = arguments.source_frames, arguments.counts
        for variant in variants(model, frames, counts, Path(folder)):
            row = variant_row(variant, name)
            yield row
            console.print(
                f"{name}, {variant.source_frames or 'as trained'}: {variant.sites} BatchNorms, "
                f"outputs differ by {variant.difference:.0e}"
            )
            if arguments.data is None:
                continue
            classes = variant.network.program(model.input.shape).classes
            streams = streams or _streams(command, model, classes)
            with command.bundles(variant.model, variant.network) as bundles:
                yield from measure_variant(
                    variant,
                    name,
                    command.methods,
                    streams,
                    bundles,
                    lambda n: progress.advance(bar, n),
                )


def _streams(command: Command, model: Model, classes: int) -> Streams:
    """Return what the command line names, for the model's task.

    Raises:
        ConfigError: an unknown order or corruption, or what --backend does not measure.
        SourceError: the set cannot be read.
    """
    arguments = command.arguments
    assert model.task is not None
    command.check_backend(model.task)
    if model.task.filtered:
        only = list(arguments.corruptions or ()) or None
        data = load_set(
            arguments.data,
            model.input.size,
            limit=arguments.limit,
            classes=model.labels,
            severity=arguments.severity,
            only=only,
        )
        check_classes(arguments.data, data, classes)
        orders = [parse_order(part.strip()) for part in arguments.order.split(",")]
        return Streams(data, orders, arguments.batch_size, seed=arguments.seed)
    check_measured(model.task)
    dense = load_dense_set(
        arguments.data,
        model.task.name,
        Classes(classes, model.labels),
        ignored=arguments.ignore,
        limit=arguments.limit,
        stride=arguments.stride,
    )
    corruptions = corruptions_from(arguments.corruptions or (CLEAN,), arguments.severity)
    return Streams(dense, corruptions=corruptions, ignored=arguments.ignore, seed=arguments.seed)
