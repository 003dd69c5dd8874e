"""The table at the end of a run."""

from __future__ import annotations

import math

from rich.table import Table

from edge_tta.run.tally import Tally

_TITLES = {"source": "frozen (source)", "norm": "Pred BN (norm)"}


def summary_table(tally: Tally, adapted: str, name_of: dict[int, str]) -> Table:
    """Errors of the adapted network beside the others, in all and by condition, where labelled."""
    conditions = tally.conditions()
    table = Table(title=f"{tally.frames} frames", title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    if not tally.labelled:
        table.add_column("mean entropy (nats)", justify="right")
        table.add_column("classes seen", justify="right")
        table.add_column("most often", justify="right")
        most = tally.predicted.most_common(1)
        often = (
            f"{name_of.get(most[0][0], most[0][0])} {most[0][1] / tally.frames:.0%}" if most else ""
        )
        table.add_row(adapted, _number(tally.mean_entropy, 3), str(len(tally.predicted)), often)
        return table
    table.add_column("error %", justify="right")
    for condition in conditions if len(conditions) > 1 else ():
        table.add_column(condition, justify="right")
    frozen = tally.errors.get("source")
    for name in (*(n for n in tally.errors if n != adapted), adapted):
        errors = tally.errors[name]
        cells = [_percent(errors.error())]
        if len(conditions) > 1:
            cells += [_percent(errors.error(condition)) for condition in conditions]
        better = name == adapted and frozen is not None and errors.error() < frozen.error()
        table.add_row(_TITLES.get(name, name), *cells, style="green" if better else None)
    return table


def latency_line(tally: Tally) -> str:
    """Milliseconds by stage: median and 90th percentile of the latest frames."""
    parts = [
        f"{stage} {1e3 * latency.quantile(0.5):.1f} ({1e3 * latency.quantile(0.9):.1f})"
        for stage, latency in tally.latencies.items()
    ]
    return "ms a frame, median (p90): " + ", ".join(parts)


def _percent(error: float) -> str:
    return _number(100 * error, 1)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
