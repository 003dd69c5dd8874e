"""Records as JSON lines, each complete on disk before the next frame."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_tta.closing import Closing
from edge_tta.errors import OutputError
from edge_tta.files import check_folder


class JsonlWriter(Closing):
    """Writes one flushed JSON object a line, to a new file or, for "-", to standard output.

    An existing file is replaced when the first record is ready, not before. Raises OutputError when
    the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = None if os.fspath(path) == "-" else Path(path)
        self._file: IO[bytes] | None = None
        if self._path is not None:
            # Told now, without touching what is there.
            check_folder(self._path)
            if not os.access(self._path if self._path.exists() else self._path.parent, os.W_OK):
                raise OutputError(f"cannot write to {path}: no permission; choose another folder")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record: numbers, texts, paths, numpy values, mappings and lists of these.

        NaN and infinity, which JSON has not, become null. Raises TypeError for anything else.
        """
        line = json.dumps(jsonable(record), allow_nan=False) + "\n"
        try:
            if self._path is None:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                self._append(self._path, line.encode())
        except OSError as error:
            if self._path is None:
                _silence_stdout()
            where = self._path or "standard output"
            raise OutputError(
                f"cannot write to {where}: {error.strerror}; make room or choose another place"
            ) from error

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._file is not None:
            # Nothing is buffered: all that can fail here has been reported.
            with contextlib.suppress(OSError):
                self._file.close()

    def _append(self, path: Path, line: bytes) -> None:
        """Write the line; of one that finds no room nothing stays."""
        if self._file is None:
            self._file = path.open("wb", buffering=0)
        rest = line
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            if len(rest) < len(line) and self._file.seekable():
                self._file.truncate(self._file.tell() - (len(line) - len(rest)))
            raise


def jsonable(value: Any) -> Any:
    """`value` in JSON's own types, floats rounded by `rounded`. Raises TypeError."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [jsonable(item) for item in value]
    raise TypeError(f"a record may not hold {type(value).__name__}")


def rounded(value: float) -> float | None:
    """Round to 6 decimals, small numbers to 6 significant digits; NaN and infinity to None.

    Six decimals are a microsecond, and hide float32's tail: 0.1 instead of 0.10000000149.
    """
    if not math.isfinite(value):
        return None
    return round(value, 6) if abs(value) >= 1e-3 else float(f"{value:.6g}")


def _silence_stdout() -> None:
    """Let Python's own flush at exit go nowhere, or it would report the closed pipe once more."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
