"""Result files: JSON of schema 1 with the environment, the command, and a row a measurement."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.environment import environment
from edge_tta.files import write_whole
from edge_tta.show.jsonl import jsonable

SCHEMA = 1


def write_results(
    path: str | Path,
    command: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
) -> None:
    """Writes a result file, whole or not at all.

    Args:
        command: words after `edge-tta`; the folder that EDGE_TTA_DATA names is written so.
        methods: all fields of each method, by the label that rows carry.

    Raises:
        OutputError: it cannot be written.
    """
    head = {
        "schema": SCHEMA,
        "command": "edge-tta " + " ".join(_quoted(word) for word in command),
        "environment": environment(),
        "methods": methods,
    }
    lines = ",\n".join("  " + json.dumps(jsonable(row), allow_nan=False) for row in rows)
    text = json.dumps(jsonable(head), indent=1)[:-2] + f',\n "results": [\n{lines}\n ]\n}}\n'
    write_whole(path, text.encode())


def _quoted(word: str) -> str:
    folder = os.environ.get("EDGE_TTA_DATA", "").rstrip("/")
    if folder and word.startswith(folder + "/"):
        return "$EDGE_TTA_DATA" + shlex.quote(word.removeprefix(folder))
    return shlex.quote(word)
