"""The command line as a user meets it: in this process (fast), or as a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import edge_tta
from edge_tta.cli.main import main

ROOT = Path(edge_tta.__file__).resolve().parents[1]

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="a model that PyTorch runs, and there is none"
)


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


def call(*words: object) -> Result:
    """Runs `edge-tta words...` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Result(code, out.getvalue(), err.getvalue())


def _ignore_nothing() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(
    *words: object, python: tuple[str, ...] = ("-m", "edge_tta"), apart: bool = False
) -> subprocess.Popen[str]:
    """Starts `python -m edge_tta words...`, its output in pipes.

    apart: as a terminal's commands are: the first of a process group, and no signal is ignored.
    """
    return subprocess.Popen(
        [sys.executable, *python, *(str(word) for word in words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=apart,
        preexec_fn=_ignore_nothing if apart else None,
    )


def spawn(*words: object) -> Result:
    """Runs `python -m edge_tta words...` to its end."""
    with start(*words) as process:
        out, err = process.communicate(timeout=240)
    return Result(process.returncode, out, err)


def records(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file, each of which must be complete."""
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def rows_of(table: str) -> dict[str, list[str]]:
    """Cells of a printed table's rows, by the first one."""
    rows = [line.strip("│ ").split("│") for line in table.splitlines() if line.startswith("│")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows}


def assert_one_line_of_advice(result: Result, *words: str) -> None:
    """Exit code 1 and one line on stderr with these words; no traceback, nothing on stdout."""
    lines = result.err.splitlines()
    assert result.code == 1, result
    assert len(lines) == 1, result.err
    assert lines[0].startswith("edge-tta: ")
    assert "Traceback" not in lines[0]
    for word in words:
        assert word in lines[0]
    assert result.out == ""
