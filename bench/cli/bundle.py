"""`edge-tta bench bundle`: time and memory of a bundle beside its peers, all in one run."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.bundle.measure import Setup, latencies, memories
from bench.bundle.peers import PEERS
from bench.bundle.untrained import write_untrained
from bench.results import make_results, write_results
from edge_tta.adapter import Adapter
from edge_tta.cli import options
from edge_tta.cli.terminal import terminal
from edge_tta.config import make_config
from edge_tta.errors import ConfigError
from edge_tta.files import check_place
from export.bundle import export_bundle
from export.folded import write_folded

_REFERENCE, _TENT = "frozen onnxruntime", "torch tent"


def parser() -> argparse.ArgumentParser:
    """The subcommand's options."""
    parser = argparse.ArgumentParser(prog="edge-tta bench bundle", description=__doc__)
    options.add_model(parser)
    parser.add_argument(
        "--untrained", action="store_true", help="random weights for torchvision:NAME"
    )
    options.add_adapt_from(parser)
    parser.add_argument("--rounds", type=options.count, default=60, help="timed steps of each peer")
    parser.add_argument("--frames", type=options.count, default=5, help="frames for memory")
    parser.add_argument("--threads", type=options.threads, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="results")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    arguments = parser().parse_args(options.joined_numbers(argv))
    if arguments.json is not None:
        check_place(arguments.json)
    console = terminal(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        with console.status("Exporting"):
            setup = _setup(arguments, Path(folder))
        with console.status("Measuring time"):
            rows = latencies(list(PEERS), setup, arguments.rounds)
        with console.status("Measuring memory"):
            rows += memories(list(PEERS), setup, arguments.frames)
    for row in rows:
        row |= {"model": Path(arguments.model).name, "threads": arguments.threads}
    terminal().print(_table(rows))
    if arguments.json is not None:
        config = make_config(
            adapt_from=arguments.adapt_from, calibrate_below=arguments.calibrate_below
        )
        methods = {"bundle": config.as_dict()}
        write_results(
            arguments.json,
            make_results(arguments.json.name, ["bench", "bundle", *argv], rows, methods),
        )
    return 0


def _setup(arguments: argparse.Namespace, folder: Path) -> Setup:
    """The bundle and the folded network, written into the folder."""
    if arguments.untrained:
        if not arguments.model.startswith("torchvision:") or arguments.weights:
            raise ConfigError("--untrained is for torchvision:NAME without --weights")
        weights = folder / "weights.pt"
        write_untrained(arguments.model.removeprefix("torchvision:"), weights, 224)
        arguments.weights = str(weights)
    options.use_threads(arguments.threads)
    model = options.model_from(arguments)
    model = dataclasses.replace(model, labels=None)
    adapter = Adapter(
        model.module,
        input_spec=model.input,
        adapt_from=arguments.adapt_from,
        calibrate_below=arguments.calibrate_below,
    )
    export_bundle(model, [adapter], options.DEFAULT_PRESET, folder / "bundle")
    write_folded(adapter, model.input, folder / "frozen.onnx")
    return Setup(folder, arguments.model, arguments.weights or "", arguments.threads)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line a peer."""
    times = {row["method"]: row for row in rows if row["measure"] == "latency"}
    peaks = {row["method"]: row for row in rows if row["measure"] == "memory"}
    table = Table(header_style="bold")
    for title in (
        "",
        "ms (median)",
        "x frozen",
        "x torch tent",
        "CPU ms",
        "x frozen",
        "peak MB",
        "x torch tent",
        "start s",
    ):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for name, row in times.items():
        peak = peaks[name]["process_peak_bytes"]
        most = peaks[_TENT]["process_peak_bytes"]
        table.add_row(
            name,
            f"{1e3 * row['p50_s']:.1f}",
            f"{row['p50_s'] / times[_REFERENCE]['p50_s']:.2f}",
            f"{row['p50_s'] / times[_TENT]['p50_s']:.2f}",
            f"{1e3 * row['cpu_s']:.1f}",
            f"{row['cpu_s'] / times[_REFERENCE]['cpu_s']:.2f}",
            "?" if peak is None else f"{peak / 1e6:.0f}",
            "?" if peak is None else f"{peak / most:.2f}",
            f"{peaks[name]['start_s']:.2f}",
        )
    return table
