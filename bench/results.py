"""Result files: JSON of schema 1 with the environment, the command, and a row a measurement."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.environment import environment
from edge_tta.files import write_whole
from edge_tta.show.jsonl import jsonable

SCHEMA = 1


def write_results(
    path: str | Path, command: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Writes a result file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    head = {
        "schema": SCHEMA,
        "command": shlex.join(["edge-tta", *command]),
        "environment": environment(),
    }
    lines = ",\n".join("  " + json.dumps(jsonable(row), allow_nan=False) for row in rows)
    text = json.dumps(jsonable(head), indent=1)[:-2] + f',\n "results": [\n{lines}\n ]\n}}\n'
    write_whole(path, text.encode())
