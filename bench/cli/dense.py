"""`edge-tta bench error` of segmenters and detectors: mIoU, or mAP50 and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.cli.common import Command, Network
from bench.corruptions import CORRUPTIONS
from bench.dense.measure import Corruption, Setting, measure_dense
from bench.dense.sets import load_dense_set
from bench.report.document import Table
from bench.sets import CLEAN
from edge_tta.errors import ConfigError, did_you_mean

_SCORES = ("miou", "map50", "recall")


def measure(command: Command, network: Network) -> int:
    """Measures, prints and writes rows; returns the exit code.

    Raises:
        ConfigError: an option that these tasks do not have, or an unknown corruption.
        SourceError: the set cannot be read.
    """
    arguments, task = command.arguments, network.program.task
    if arguments.order not in ("iid", "natural") or arguments.batch_size != (1,):
        raise ConfigError(
            f"task {task.name} is measured frame by frame in the set's order; leave --order and "
            "--batch-size out"
        )
    if arguments.report is not None:
        raise ConfigError(f"there is no --report for task {task.name} yet; leave it out")
    corruptions = corruptions_from(arguments.corruptions or (CLEAN,), arguments.severity)
    data = load_dense_set(arguments.data, task.name, arguments.limit, arguments.stride)
    rows: list[dict[str, Any]] = []
    with command.progress() as progress:
        total = len(data) * len(corruptions) * len(command.methods)
        bar = progress.add_task(f"{task.name}, natural", total=total)
        for row in measure_dense(
            network.source,
            network.model.input,
            data,
            command.methods,
            Setting(corruptions, arguments.ignore, arguments.seed),
            model=network.name,
            advance=lambda: progress.advance(bar),
        ):
            rows.append(row)
            progress.console.print(_line(row))
            command.write(rows)
    for score in _SCORES:
        if score in rows[0]:
            command.show(table_of(rows, score), score)
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


def table_of(rows: Sequence[Mapping[str, Any]], score: str) -> Table:
    """Return a table of a score, a line a corruption, a column a method, with their mean."""
    scores = {(row["label"], _named(row)): float(row[score]) for row in rows}
    labels = list(dict.fromkeys(row["label"] for row in rows))
    corruptions = list(dict.fromkeys(map(_named, rows)))
    lines = [[c, *(f"{scores[label, c]:.3f}" for label in labels)] for c in corruptions]
    corrupted = [c for c in corruptions if c != CLEAN]
    if len(corrupted) > 1:
        means = [sum(scores[label, c] for c in corrupted) / len(corrupted) for label in labels]
        lines.append(["mean of corruptions", *(f"{mean:.3f}" for mean in means)])
    return Table(["corruption", *labels], lines)


def _named(row: Mapping[str, Any]) -> str:
    """Return a corruption with its severity."""
    return f"{row['corruption']} {row['severity'] or ''}".strip()


def _line(row: Mapping[str, Any]) -> str:
    scores = ", ".join(f"{score} {row[score]:.3f}" for score in _SCORES if score in row)
    return f"{row['label']}, {_named(row)}: {scores}"
