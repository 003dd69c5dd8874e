"""Messages of `edge-tta run` on the way, and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TimeRemainingColumn,
)

from edge_tta.run.loop import Loop
from edge_tta.run.summary import (
    accuracy_line,
    comparison_line,
    guard_line,
    latency_line,
    order_line,
    summary_table,
    warning_line,
)
from edge_tta.run.tally import Tally

_PLAIN_EVERY_S = 10.0


@contextmanager
def progress(loop: Loop, console: Console) -> Iterator[Callable[[], None]]:
    """A progress bar, or a line now and then where there is no terminal; call it at each frame."""
    source = loop.source
    columns: list[str | ProgressColumn] = [SpinnerColumn(), MofNCompleteColumn()]
    if source.length is not None:
        columns = [BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    columns = ["{task.description}", *columns, "{task.fields[said]}"]
    said_s = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(source.name, total=source.length, said="")

        def tell_progress() -> None:
            nonlocal said_s
            done, now_s = loop.tally.frames, time.monotonic()
            said = _so_far(loop.tally, loop.fps or 0.0)
            bar.update(task, completed=done, said=said)
            if not console.is_terminal and now_s - said_s >= _PLAIN_EVERY_S:
                said_s = now_s
                total = f"/{source.length}" if source.length is not None else ""
                console.print(f"{source.name}: {done}{total} frames, {said}")

        yield tell_progress


def _so_far(tally: Tally, fps: float) -> str:
    errors = [f"{name} {100 * errors.error():.1f} %" for name, errors in tally.errors.items()]
    return f"{fps:.1f} fps" + (", error: " + ", ".join(errors) if errors else "")


def tell(loop: Loop, console: Console) -> None:
    """The table and what else there is to know at the end."""
    tally, source, method = loop.tally, loop.source, loop.predictors.method
    classes, task = loop.predictors.classes, loop.predictors.task
    if tally.frames:
        console.print(summary_table(tally, method, classes, task))
        console.print(latency_line(tally))
        for line in (accuracy_line(tally, method), comparison_line(tally)):
            if line is not None:
                console.print(line)
        guarded = guard_line(tally)
        if guarded is not None:
            console.print(guarded, style="yellow" if tally.fallen else None)
        for warning in (warning_line(tally, method), order_line(tally, method)):
            if warning is not None:
                console.print(f"warning: {warning}", style="yellow")
    else:
        console.print("no frame was seen")
    for what, counts in (
        ("left out", source.dropped),
        ("predicted, not learned from", tally.not_learned),
    ):
        if counts:
            listed = ", ".join(f"{times} {why}" for why, times in counts.most_common())
            console.print(f"{what}: {listed}")
    if source.reconnected:
        console.print(f"lost and found again: {source.reconnected} times")
