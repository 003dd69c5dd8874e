"""The table at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.table import Table

from edge_tta.run.reading import class_name
from edge_tta.run.tally import Tally

_TITLES = {"source": "frozen (source)", "norm": "Pred BN (norm)"}


def summary_table(tally: Tally, adapted: str, labels: tuple[str, ...] | None) -> Table:
    """The adapted network beside the others: errors, in all and by condition, where labelled.

    Without labels: what can be seen without them. Neither of it says which method is right.
    """
    table = Table(title=f"{tally.frames} frames", title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    if tally.labelled:
        _add_errors(table, tally, adapted)
    else:
        _add_unlabelled(table, tally, adapted, labels)
    return table


def _add_errors(table: Table, tally: Tally, adapted: str) -> None:
    conditions = tally.conditions()
    table.add_column("error %", justify="right")
    for condition in conditions if len(conditions) > 1 else ():
        table.add_column(condition, justify="right")
    frozen = tally.errors.get("source")
    for name in _adapted_last(tally.errors, adapted):
        errors = tally.errors[name]
        cells = [_percent(errors.error())]
        if len(conditions) > 1:
            cells += [_percent(errors.error(condition)) for condition in conditions]
        better = name == adapted and frozen is not None and errors.error() < frozen.error()
        table.add_row(_TITLES.get(name, name), *cells, style="green" if better else None)


def _add_unlabelled(
    table: Table, tally: Tally, adapted: str, labels: tuple[str, ...] | None
) -> None:
    table.add_column("mean entropy (nats)", justify="right")
    table.add_column("classes predicted", justify="right")
    table.add_column("most often")
    for name in _adapted_last(tally.predicted, adapted):
        predicted = tally.predicted[name]
        often = ", ".join(
            f"{class_name(index, labels)} {times / predicted.total():.0%}"
            for index, times in predicted.most_common(2)
        )
        entropy = _number(tally.entropies[name].value, 3)
        table.add_row(_TITLES.get(name, name), entropy, str(len(predicted)), often)


def _adapted_last(names: Iterable[str], adapted: str) -> list[str]:
    return sorted(names, key=lambda name: name == adapted)


def latency_line(tally: Tally) -> str:
    """Milliseconds by stage: median and 90th percentile of the latest frames."""
    parts = [
        f"{stage} {1e3 * latency.quantile(0.5):.1f} ({1e3 * latency.quantile(0.9):.1f})"
        for stage, latency in tally.latencies.items()
    ]
    return "ms a frame, median (p90): " + ", ".join(parts)


def guard_line(tally: Tally) -> str | None:
    """What the guard did, and on how many frames the source network ran for it."""
    if tally.source_share is None:
        return None
    cost = f"the source network ran on {tally.source_share:.0%} of the frames"
    falls = tally.guarded["fell back"]
    if not falls:
        return f"guard: no sign of harm; {cost}"
    times = "once" if falls == 1 else f"{falls} times"
    return (
        f"guard: fell back {times} (last: {tally.last_harm}), the source answered "
        f"{tally.fallen} of {tally.frames} frames; {cost}"
    )


def warning_line(tally: Tally, adapted: str) -> str | None:
    """What to do where adaptation did harm, or seems to; None where nothing says so.

    With labels that is an error above the frozen network's. Without, a mean entropy half as large
    again as the frozen network's and more than half a nat above it: calibration that takes the
    evidence away ends in doubt.
    """
    instead = "; for a stream like this use --method source"
    errors, entropies = tally.errors, tally.entropies
    if "source" in errors and adapted in errors:
        own, frozen = errors[adapted].error(), errors["source"].error()
        if own > frozen:
            return (
                f"{adapted} is wrong more often than the frozen network, {_percent(own)} % against "
                f"{_percent(frozen)} %{instead}"
            )
    elif "source" in entropies and adapted in entropies:
        own, frozen = entropies[adapted].value, entropies["source"].value
        if own > max(1.5 * frozen, frozen + 0.5):
            return (
                f"{adapted} is far less certain than the frozen network, {own:.2f} nats against "
                f"{frozen:.2f}: frames that hardly change take their own evidence away{instead}"
            )
    return None


def _percent(error: float) -> str:
    return _number(100 * error, 1)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
