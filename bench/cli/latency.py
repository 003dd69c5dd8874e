"""`edge-tta bench latency`: time of a frame, stage by stage, methods and peers in turns."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from rich.table import Table

from bench.cli.cost import add_options, cases_of
from bench.cost.frames import frames_of
from bench.cost.latency import latency_row, measure_latency, ratios
from bench.cost.subjects import load_model_of, make_subject
from bench.results import make_results, write_results
from edge_tta import heap
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.network.source import SourceNetwork

STAGES = ("read", "prepare", "forward", "backward", "update", "rest")


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta bench latency",
        description="Time of a frame of one stream, for methods and peers that take turns in one "
        "process.",
    )
    add_options(parser)
    parser.add_argument(
        "--frames", type=options.count, default=100, metavar="N", help="of each (default: 100)"
    )
    parser.add_argument(
        "--warm-up", type=options.natural, default=5, metavar="N", help="before, not counted"
    )
    parser.add_argument(
        "--turns", type=options.count, default=5, metavar="N", help="to share the frames out over"
    )
    parser.add_argument(
        "--budget-ms", type=options.positive, metavar="MS", help="count the frames that take longer"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    console = terminal(stderr=True)
    heap.keep()
    cases, methods = cases_of(arguments, console)
    with console.status("Loading the network"):
        model = load_model_of(arguments)
    rows: list[dict[str, Any]] = []
    groups = itertools.groupby(cases, key=lambda case: (case.device, case.threads))
    with Progress(console=console, disable=not console.is_terminal) as progress:
        for (device, threads), group in groups:
            own = list(group)
            shared: dict[str, SourceNetwork] = {}
            if threads is not None:
                torch.set_num_threads(threads)
            title = f"{device}, {threads or torch.get_num_threads()} threads"
            task = progress.add_task(title, total=len(own) * arguments.turns)
            timings = measure_latency(
                own,
                partial(make_subject, model=model, shared=shared),
                model.input,
                partial(frames_of, arguments.source),
                n=arguments.frames,
                warm_up=arguments.warm_up,
                turns=arguments.turns,
                advance=partial(progress.advance, task),
            )
            rows += [
                latency_row(case, Path(model.name).name, timing, arguments.budget_ms)
                for case, timing in zip(own, timings, strict=True)
            ]
            ratios(rows)
            if arguments.json is not None:
                fields = {label: config.as_dict() for label, config in methods.items()}
                name = arguments.json.name
                results = make_results(name, ["bench", "latency", *argv], rows, fields)
                write_results(arguments.json, results)
    terminal().print(latency_table(rows))
    terminal().print(stage_table(rows))
    for row in rows:
        if row["unstable"]:
            console.print(f"unstable: {row['label']}: {row['unstable']}", style="yellow")
    return 0


def latency_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """ms by method."""
    table = Table(title="ms a frame", title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    for name in ("p50", "p90", "p99", "mean", "fps", "processor", "/ stock", "misses"):
        table.add_column(name, justify="right")
    for row in rows:
        ratio = row.get("ratio_to_stock")
        table.add_row(
            row_name(row, rows) + (" *" if row["unstable"] else ""),
            *(_ms(row["latency_s"][n]) for n in ("p50", "p90", "p99", "mean")),
            f"{row['fps']:.1f}",
            _ms(row["processor_s"]["p50"]),
            "-" if ratio is None else f"{ratio['wall']:.2f}",
            str(row["misses"]) if "misses" in row else "-",
        )
    if any(row["unstable"] for row in rows):
        table.caption = "* unstable, see below"
    return table


def stage_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Mean ms by stage, which add up; a peer that adapts in one call has a whole step only."""
    names = [n for n in (*STAGES, "whole step") if any(n in row["stages_s"] for row in rows)]
    table = Table(title="ms by stage (mean)", title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        stages = row["stages_s"]
        cells = (_ms(stages[n]["mean"]) if n in stages else "-" for n in names)
        table.add_row(row_name(row, rows), *cells)
    return table


def row_name(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The method, with device and threads where they differ among rows."""
    name = str(row["label"])
    if len({(r["device"], r["threads"]) for r in rows}) > 1:
        name += f", {row['device']}" + (f", {row['threads']} threads" if row["threads"] else "")
    return name


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"
