"""The sink that gives a command every update."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from edge_tta.errors import ConfigError
from edge_tta.run.sinks.updates import UpdateSink

ANY: Any = None


def run(command: str, files: list[bytes | None]) -> list[str]:
    """What is told of a command over frames that bring these files."""
    told: list[str] = []
    left = list(files)
    sink = UpdateSink(command, lambda: left.pop(0), told.append)
    sink.open(ANY)
    while left:
        sink.take(ANY)
    sink.close()
    return told


def test_the_file_is_behind_the_command_and_gone_afterwards(tmp_path: Path) -> None:
    script = tmp_path / "take.py"
    script.write_text(
        "import pathlib, sys\n"
        f"log = open({str(tmp_path / 'log')!r}, 'a')\n"
        "log.write(sys.argv[1] + ' ' + sys.argv[2] + ' ' + pathlib.Path(sys.argv[2]).read_text())\n"
    )
    assert run(f"{sys.executable} {script} 'a word'", [None, b"weights", None]) == []
    words, _, text = (tmp_path / "log").read_text().rpartition(" ")
    assert text == "weights"
    assert words.startswith("a word ")
    assert not Path(words.removeprefix("a word ")).exists()


def test_a_command_that_fails_is_told_of_once_and_the_run_goes_on() -> None:
    (told,) = run("no-such-command", [b"1", b"2"])
    assert told.startswith("--on-update no-such-command failed (")
    assert told.endswith("the run goes on")


@pytest.mark.parametrize("command", ["", "  ", "'open"])
def test_no_command_is_refused(command: str) -> None:
    with pytest.raises(ConfigError, match="--on-update"):
        UpdateSink(command, lambda: None, print)
