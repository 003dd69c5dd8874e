"""Finds out before the work that its result could not be written."""

from __future__ import annotations

import os
from pathlib import Path

from edge_tta.errors import OutputError


def check_place(path: Path) -> None:
    """Whether a file can be put there by `edge_tta.files`, as far as can be told beforehand.

    Raises:
        OutputError: no such folder, no permission, or something there that is not a file.
    """
    if path.is_dir():
        raise OutputError(f"cannot write to {path}: it is a folder; add a file name")
    if path.exists() and not path.is_file():
        # The finished file is renamed, which would replace a device by an ordinary file.
        raise OutputError(f"cannot write to {path}: it is not an ordinary file; choose another")
    if not path.parent.is_dir():
        raise OutputError(
            f"cannot write to {path}: the folder {path.parent} does not exist; make it first"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write to {path}: no permission for the folder {path.parent}; choose another"
        )
