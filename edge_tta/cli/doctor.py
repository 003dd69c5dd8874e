"""`edge-tta doctor`: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from edge_tta import __version__
from edge_tta.cli import look_cameras, look_machine, look_software
from edge_tta.cli.finding import Finding
from edge_tta.cli.terminal import terminal

_LOOKS = (
    look_machine.processor,
    look_machine.power,
    look_machine.memory,
    look_machine.disk,
    look_software.torch,
    look_software.onnxruntime,
    look_software.packages,
    look_software.programs,
    look_software.opencv,
    look_software.codecs,
    look_software.display,
    look_cameras.cameras,
    look_cameras.csi,
)


def parser() -> argparse.ArgumentParser:
    """Return the subcommand's options."""
    parser = argparse.ArgumentParser(
        prog="edge-tta doctor",
        description="Tells what this machine has, what is missing, and the command that mends it.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, to put into a report")
    return parser


def main(argv: Sequence[str]) -> int:
    """Prints the findings. Nothing of it is a failure: exit code 0."""
    arguments = parser().parse_args(argv)
    if arguments.json:
        print(json.dumps([finding.as_dict() for finding in findings()], indent=1))
        return 0
    table = Table.grid(padding=(0, 2, 0, 0))
    for overflow in ("ignore", "fold", "fold"):
        table.add_column(overflow=overflow)
    for finding in findings():
        mark = Text("ok", "green") if finding.ok else Text("--", "yellow")
        table.add_row(mark, finding.what, finding.found)
        if finding.advice:
            table.add_row("", "", Text(f"to mend it: {finding.advice}", "yellow"))
    terminal().print(table)
    return 0


def findings() -> Iterator[Finding]:
    """Looks at one thing after another."""
    yield Finding("edge_tta", f"{__version__}, Python {platform.python_version()}")
    for look in _LOOKS:
        yield from look()
