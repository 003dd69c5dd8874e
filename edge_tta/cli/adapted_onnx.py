"""The adapted network as an ONNX file, made of a run's saved state."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from edge_tta.cli.options import MODEL_OPTIONS
from edge_tta.errors import EdgeTTAError

_NEEDED = ("torch", "onnx", "export")
_LONGEST_S = 600


def maker(arguments: argparse.Namespace, bundled: bool) -> Callable[[], bytes] | None:
    """Return what makes the file of the state as it was last saved.

    `edge-tta export folded` runs in a process of its own, so that the run goes on meanwhile.

    Args:
        arguments: of `run`. bundled: it runs a bundle.

    Returns:
        None where there is no state file, a bundle runs, or a package is missing.
    """
    if arguments.state is None or bundled or not all(map(importlib.util.find_spec, _NEEDED)):
        return None
    return lambda: _made(arguments)


def _made(arguments: argparse.Namespace) -> bytes:
    """Raises EdgeTTAError with what the export said."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "adapted.onnx"
        words = [*_model_words(arguments), f"--state={arguments.state}", f"--out={out}"]
        command = [sys.executable, "-m", "edge_tta", "export", "folded", *words]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_LONGEST_S, check=False)
        except subprocess.TimeoutExpired:
            raise EdgeTTAError(f"the export took more than {_LONGEST_S} s") from None
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise EdgeTTAError(last.removeprefix("edge-tta: ") or "the export failed")
        return out.read_bytes()


def _model_words(arguments: argparse.Namespace) -> list[str]:
    """The options that name the run's network, as they are typed."""
    words = []
    for name in MODEL_OPTIONS:
        value = getattr(arguments, name)
        if value is not None:
            joint = "x" if name == "size" else ","
            text = joint.join(map(str, value)) if isinstance(value, tuple | list) else str(value)
            words.append(f"--{name.replace('_', '-')}={text}")
    return words
