"""Summary at the end of a run: the table, and a few lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rich.table import Table

from edge_tta.run.frame_result import FILTER, SOURCE
from edge_tta.run.tally import Tally
from edge_tta.tasks import Classes, Task
from edge_tta.temporal.accuracy import LEAST_FRAMES, in_words

_TITLES = {"norm": "Pred BN (norm)"}
_OF_CLASSES = ("most often", "largest class", "class of most boxes")
"""Titles of columns of names."""
_LONGEST_METHOD = len("nanoadapt:tent+filter")
"""Characters; longer names are folded."""


def summary_table(tally: Tally, adapted: str, classes: Classes, task: Task) -> Table:
    """The adapted network below the others: errors, in all and by condition, where labelled.

    Without labels: what outputs of the task show without them. It does not say which method is
    right.
    """
    names = tally.errors if tally.labelled else tally.predicted
    table = Table(title=f"{tally.frames} frames", title_justify="left", header_style="bold")
    longest = max((len(_TITLES.get(name, name)) for name in names), default=0)
    table.add_column("method", width=min(longest, _LONGEST_METHOD), overflow="fold")
    if tally.labelled:
        _add_errors(table, tally, adapted)
    else:
        _add_unlabelled(table, tally, adapted, _unlabelled(tally, classes, task))
    return table


def _add_errors(table: Table, tally: Tally, adapted: str) -> None:
    conditions = tally.conditions()
    columns = [None, *(conditions if len(conditions) > 1 else ())]
    source = tally.errors.get(SOURCE)
    own = adapted, adapted + FILTER
    methods = sorted(tally.errors.items(), key=lambda item: item[0] in own)
    rows = [[_number(100 * errors.error(c), 1) for c in columns] for _, errors in methods]
    for condition, cells in zip(columns, zip(*rows, strict=True), strict=True):
        widest = max(map(len, cells))  # on a narrow terminal, names give way to figures
        table.add_column(condition or "error %", justify="right", min_width=widest, overflow="fold")
    for (name, errors), row in zip(methods, rows, strict=True):
        better = name in own and source is not None and errors.error() < source.error()
        table.add_row(_TITLES.get(name, name), *row, style="green" if better else None)


def _add_unlabelled(
    table: Table, tally: Tally, adapted: str, columns: Mapping[str, Callable[[str], str]]
) -> None:
    for title in columns:
        names = title in _OF_CLASSES
        table.add_column(
            title,
            justify="left" if names else "right",
            no_wrap=names,
            min_width=None if names else 5,
            overflow="ellipsis" if names else "fold",
        )
    own = adapted, adapted + FILTER
    for name in sorted(tally.predicted, key=lambda name: name in own):
        table.add_row(_TITLES.get(name, name), *(cell(name) for cell in columns.values()))


def _unlabelled(tally: Tally, classes: Classes, task: Task) -> dict[str, Callable[[str], str]]:
    """Return the columns for outputs of a task: a title, and the cell of a method."""

    def entropy(name: str) -> str:
        return _number(tally.entropies[name].value, 3)

    def boxes(name: str) -> str:
        return _number(tally.predicted[name].total() / tally.seen[name], 1)

    def often(name: str) -> str:
        predicted = tally.predicted[name]
        shares = ((k, times / predicted.total()) for k, times in predicted.most_common(2))
        return ", ".join(f"{classes.name(k)} {share:.0%}" for k, share in shares) or "-"

    def count(name: str) -> str:
        return str(len(tally.predicted[name]))

    columns: dict[str, dict[str, Callable[[str], str]]] = {
        "segment": {"entropy (nats)": entropy, "largest class": often},
        "detect": {"boxes a frame": boxes, "class of most boxes": often},
        "features": {},
    }
    return columns.get(
        task.name, {"entropy (nats)": entropy, "classes": count, "most often": often}
    )


def latency_line(tally: Tally) -> str:
    """Milliseconds by stage: median and 90th percentile of the latest frames."""
    parts = [
        f"{stage} {1e3 * latency.quantile(0.5):.1f} ({1e3 * latency.quantile(0.9):.1f})"
        for stage, latency in tally.latencies.items()
    ]
    return "ms a frame, median (p90): " + ", ".join(parts)


def guard_line(tally: Tally) -> str | None:
    """Return what the guard did, and how often it ran the source network; None: no guard."""
    if tally.guard is None:
        return None
    falls = tally.guard.falls
    share = f"{tally.guard.source_share:.0%} of the frames"
    if tally.guard.parts is not None:
        harm = f"; for {tally.fallen} of them because {tally.last_harm}" if tally.fallen else ""
        return (
            f"guard: the source answered {tally.by_source + tally.fallen} of {tally.frames} "
            f"frames, where the adapted network was not clearly surer{harm}; it ran on {share}"
        )
    weight = (
        f"the source network ran on {share} and had {tally.source_weight:.0%} of the weight in the "
        "answers"
    )
    if not falls:
        return f"guard: no sign of harm; {weight}"
    times = "once" if falls == 1 else f"{falls} times"
    fallen = f"for {tally.fallen} of {tally.frames} frames"
    last = f"{'' if falls == 1 else 'last: '}{tally.last_harm}"
    return f"guard: fell back to the source network {times} ({last}), {fallen}; {weight}"


def comparison_line(tally: Tally) -> str | None:
    """Return how the adapted network fares beside the source; None: nobody has compared them."""
    guard = tally.guard
    if guard is None or not guard.source_share or guard.disagreement is None:
        return None
    said = f"adapted and source networks differ on {guard.disagreement:.0%} of the latest "
    said += guard.parts or "frames"
    if guard.parts is not None:
        return said
    if guard.accuracy is None or guard.source_accuracy is None:
        return f"{said}; which is right more often: unknown"
    adapted, source = in_words(guard.accuracy), in_words(guard.source_accuracy)
    return f"{said}; estimated accuracy: adapted {adapted}, source {source}"


def accuracy_line(tally: Tally, adapted: str) -> str | None:
    """Return the estimated accuracy of the latest frames; None: no filter."""
    if tally.filter is None:
        return None
    if tally.filter.accuracy is None:
        if tally.filter.frames < LEAST_FRAMES:
            return f"estimated accuracy: unknown before {LEAST_FRAMES} frames"
        by_source = adapted == SOURCE or (tally.guard is not None and tally.guard.fallen)
        otherwise = (
            "and of the source network nothing else tells"
            if by_source
            else "then it takes --source-frames and --source-accuracy"
        )
        return f"estimated accuracy: unknown (neighbours say nothing of each other; {otherwise})"
    alone = in_words(tally.filter.accuracy_alone)
    return (
        f"estimated accuracy, latest {tally.filter.frames} frames: "
        f"{in_words(tally.filter.accuracy)}; without the filter {alone}"
    )


def order_line(tally: Tally, adapted: str) -> str | None:
    """Return what a sorted data set hides; None: the classes came in no such order."""
    if adapted == SOURCE or not tally.sorted_by_class:
        return None
    return (
        f"the classes came one after the other, {tally.labelled // tally.blocks} frames in a row: "
        "where the camera will not show them so, that hides what adapting gives; in random order: "
        "edge-tta bench error, or one folder with a labels.csv"
    )


def warning_line(tally: Tally, adapted: str) -> str | None:
    """Return advice where adaptation did harm, or seems to; None where nothing says so.

    With labels that is an error above the source network's. Without, a mean entropy half as large
    again as the source network's and more than half a nat above it: calibration that takes the
    evidence away ends in doubt.
    """
    instead = "; for a stream like this use --method source"
    errors, entropies = tally.errors, tally.entropies
    if SOURCE in errors and adapted in errors:
        own, source = 100 * errors[adapted].error(), 100 * errors[SOURCE].error()
        if own > source:
            return (
                f"{adapted} is wrong more often than the source network, {own:.1f} % against "
                f"{source:.1f} %{instead}"
            )
    elif SOURCE in entropies and adapted in entropies:
        own, source = entropies[adapted].value, entropies[SOURCE].value
        if own > max(1.5 * source, source + 0.5):
            return (
                f"{adapted} is far less certain than the source network, {own:.2f} nats against "
                f"{source:.2f}: frames that hardly change take their own evidence away{instead}"
            )
    return None


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
