"""A detector's `decode(outputs)` from a file of the user's, without PyTorch if it needs none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_tta.errors import ModelError, one_line

Decode = Callable[[Any], Any]


def read_decode(path: str | Path) -> Decode:
    """Return the function `decode` of a Python file, which is run for it.

    Raises:
        ModelError: there is no such file or function, or it cannot be run.
    """
    file = Path(path)
    spec = importlib.util.spec_from_file_location(f"edge_tta_decode_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise ModelError(f"there is no Python file {path}; give one with decode(outputs)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file raises
        raise ModelError(
            f"{path} cannot be run: {type(error).__name__}: {one_line(error, 160)}; expected a "
            "Python file with decode(outputs)"
        ) from error
    decode: Decode | None = getattr(module, "decode", None)
    if not callable(decode):
        raise ModelError(f"{path} has no function decode; write decode(outputs)")
    return decode
