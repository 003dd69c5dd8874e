"""`edge-tta bench error` of segmenters and detectors: mIoU, or mAP50 and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.cli.common import Command, Network
from bench.cli.report import report_rows
from bench.cli.showing import show_table
from bench.corruptions import CORRUPTIONS
from bench.dense.measure import Corruption, Setting, measure_dense
from bench.dense.sets import load_dense_set
from bench.report.dense import SCORES, named, score_table
from bench.sets import CLEAN
from edge_tta.errors import ConfigError, did_you_mean
from edge_tta.tasks import Classes

_SETTINGS = [(order, (1,), 1) for order in (None, "natural")]
"""Orders, batch sizes and numbers of seeds that these tasks are measured in."""


def measure(command: Command, network: Network) -> int:
    """Measures, prints and writes rows; returns the exit code.

    Raises:
        ConfigError: an option that these tasks do not have, or an unknown corruption.
        SourceError: the set cannot be read.
    """
    arguments, task = command.arguments, network.program.task
    if (arguments.order, arguments.batch_size, arguments.seeds) not in _SETTINGS:
        raise ConfigError(
            f"task {task.name} is measured once, frame by frame in the set's own order; leave "
            "--order (or give natural), --batch-size and --seeds out"
        )
    if arguments.ignore and task.name != "segment":
        raise ConfigError(f"--ignore is of masks, and task {task.name} has none; leave it out")
    corruptions = corruptions_from(arguments.corruptions or (CLEAN,), arguments.severity)
    data = load_dense_set(
        arguments.data,
        task.name,
        Classes(network.program.classes, network.model.labels),
        ignored=arguments.ignore,
        limit=arguments.limit,
        stride=arguments.stride,
    )
    rows: list[dict[str, Any]] = []
    with command.progress() as progress:
        total = len(data) * len(corruptions) * len(command.methods)
        bar = progress.add_task(f"{task.name}, natural", total=total)
        for row in measure_dense(
            network.source,
            network.model.input,
            data,
            command.methods,
            Setting(corruptions, arguments.ignore, arguments.seed, arguments.saved),
            model=network.name,
            advance=lambda: progress.advance(bar),
        ):
            rows.append(row)
            progress.console.print(_line(row))
            command.write(rows)
    for score in SCORES:
        if score in rows[0]:
            show_table(score_table(rows, score), score)
    report_rows(command, rows)
    return 0


def corruptions_from(names: Sequence[str], severity: int) -> list[Corruption]:
    """Return corruptions of NAME or NAME:SEVERITY each.

    Raises:
        ConfigError: an unknown name, or a severity that is not 1 to 5.
    """
    corruptions = []
    for text in names:
        name, _, own = text.partition(":")
        if name not in (CLEAN, *CORRUPTIONS):
            raise ConfigError(f"unknown corruption {name!r}{did_you_mean(name, CORRUPTIONS)}")
        if own not in ("", "1", "2", "3", "4", "5"):
            raise ConfigError(f"the severity of {text!r} must be 1 to 5")
        corruptions.append(Corruption(name, 0 if name == CLEAN else int(own or severity)))
    return corruptions


def _line(row: Mapping[str, Any]) -> str:
    scores = ", ".join(f"{score} {row[score]:.3f}" for score in SCORES if score in row)
    return f"{row['label']}, {named(row)}: {scores}"
