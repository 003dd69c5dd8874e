"""`edge-tta bench KIND`: finds the kind of measurement."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

KINDS = {
    "error": ("bench.cli.error", "error of methods on corrupted pictures with labels"),
    "soak": ("bench.cli.soak", "a long run: memory, latency and numbers over it"),
    "faults": ("bench.cli.faults", "a run killed at random moments: is the state ever lost?"),
    "guard": ("bench.cli.guard", "the guard on streams that are built to break adaptation"),
    "latency": ("bench.cli.latency", "time of a frame, by stage, beside peers"),
    "memory": ("bench.cli.memory", "peak and saved memory, a fresh process for each case"),
    "restored": ("bench.cli.restored", "networks that come back from ONNX with BatchNorm folded"),
    "report": ("bench.cli.report", "a page with tables and plots from result files"),
}


def main(argv: Sequence[str]) -> int:
    """Runs the subcommand; returns the exit code."""
    if argv and argv[0] in KINDS:
        code: int = importlib.import_module(KINDS[argv[0]][0]).main(argv[1:])
        return code
    parser().parse_args(argv)
    return 2


def parser() -> argparse.ArgumentParser:
    """The kinds, whose own parsers know the options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta bench",
        description="Measures methods on this machine.",
        epilog="edge-tta bench KIND --help tells more.",
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    for name, (_, what) in KINDS.items():
        kinds.add_parser(name, help=what, add_help=False)
    return parser
