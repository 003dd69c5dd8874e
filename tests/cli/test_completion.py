"""Completion in the shell."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.commands import ROOT

pytest.importorskip("argcomplete", reason="needs argcomplete")

_SHELL = """
import json, os, sys
from edge_tta.cli import run_options
from edge_tta.cli.main import main
os.environ |= {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": " "}
told = {}
for line in sys.argv[1:]:
    read, write = os.pipe()
    if not os.fork():
        os.dup2(write, 8)
        os.environ |= {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        os._exit(main([]))
    os.close(write)
    told[line] = os.fdopen(read).read().split()
    os.wait()
print(json.dumps(told))
"""
_STANDS_NEXT = {
    "edge-tta d": ["doctor"],
    "edge-tta run demo --gu": ["--guard"],
    "edge-tta run demo --guard ": ["off", "on"],
    "edge-tta bench l": ["latency"],
    "edge-tta bench error --orde": ["--order"],
    "edge-tta export fr": ["frozen"],
}


def test_what_could_stand_next_is_told() -> None:
    """As a shell asks: by environment variables, and answered on file descriptor 8."""
    words = [sys.executable, "-c", _SHELL, *_STANDS_NEXT]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=True, cwd=ROOT)
    told = json.loads(done.stdout)
    assert {line: sorted(words) for line, words in told.items()} == _STANDS_NEXT
