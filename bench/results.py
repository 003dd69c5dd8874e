"""Result files: JSON of schema 1 with the environment, the command, and a row a measurement."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.environment import environment
from edge_tta.errors import EdgeTTAError, one_line
from edge_tta.files import write_whole
from edge_tta.frames.addresses import without_secrets
from edge_tta.show.jsonl import jsonable

Row = Mapping[str, Any]
"""A measurement, as plain values."""

SCHEMA = 1
_EXPECTED = "expected a result file, as edge-tta bench ... --json FILE writes it"


class ResultError(EdgeTTAError):
    """A result file that cannot be read, or results that do not belong together."""


@contextmanager
def rows_of(command: str) -> Iterator[None]:
    """Within it, a row that lacks something, or has something else there, is a ResultError.

    command: of `edge-tta bench`, which writes such rows.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ResultError(
            f"a row is not as edge-tta bench {command} writes it ({error!r})"
        ) from error


@dataclass(frozen=True)
class Results:
    """Results of a file or a run.

    Attributes:
        name: of the file, for reports.
        methods: all fields of each method, by the label that rows carry.
    """

    name: str
    command: str
    environment: Mapping[str, Any]
    methods: Mapping[str, Mapping[str, Any]]
    rows: Sequence[Row]


def make_results(
    name: str, command: Sequence[str], rows: Sequence[Row], methods: Mapping[str, Mapping[str, Any]]
) -> Results:
    """The results of a measurement that ran here and now.

    Args:
        command: words after `edge-tta`; the folder that EDGE_TTA_DATA names is written so.
    """
    line = "edge-tta " + " ".join(_quoted(without_secrets(word)) for word in command)
    return Results(name, line, environment(), methods, rows)


def write_results(path: str | Path, results: Results) -> None:
    """Writes a result file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    head = {
        "schema": SCHEMA,
        "command": results.command,
        "environment": results.environment,
        "methods": results.methods,
    }
    lines = ",\n".join("  " + json.dumps(jsonable(row), allow_nan=False) for row in results.rows)
    text = json.dumps(jsonable(head), indent=1)[:-2] + f',\n "results": [\n{lines}\n ]\n}}\n'
    write_whole(path, text.encode())


def read_results(path: str | Path) -> Results:
    """Reads a result file.

    Raises:
        ResultError: it cannot be read, is no result file, or is of another schema.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror or one_line(error, 120)
        raise ResultError(f"cannot read {path} ({reason}); {_EXPECTED}") from error
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path} is not JSON ({one_line(error, 120)}); {_EXPECTED}") from error
    if not isinstance(document, dict) or "schema" not in document:
        raise ResultError(f"{path} is not a result file: it has no schema; {_EXPECTED}")
    if document["schema"] != SCHEMA:
        raise ResultError(
            f"{path} has the schema {document['schema']!r} and this edge-tta reads {SCHEMA}; use "
            "the version that wrote it, or measure again"
        )
    machine, methods, rows = (document.get(key) for key in ("environment", "methods", "results"))
    if not (
        isinstance(machine, dict)
        and isinstance(methods, dict)
        and isinstance(rows, list)
        and all(isinstance(part, dict) for part in (*methods.values(), *rows))
    ):
        raise ResultError(
            f"{path} lacks its environment, methods or results, or they are not as schema {SCHEMA} "
            f"has them; {_EXPECTED}"
        )
    return Results(path.name, str(document.get("command", "")), machine, methods, rows)


def _quoted(word: str) -> str:
    folder = os.environ.get("EDGE_TTA_DATA", "").rstrip("/")
    if folder and word.startswith(folder + "/"):
        return "$EDGE_TTA_DATA" + shlex.quote(word.removeprefix(folder))
    return shlex.quote(word)
