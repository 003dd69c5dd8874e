"""Writing of `edge-tta corrupt`: pictures, and folders that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from edge_tta.errors import OutputError
from edge_tta.prepare import Pixels


def write_png(path: Path, picture: Pixels) -> None:
    """A picture (H, W, 3) uint8 RGB as PNG, which keeps it exactly; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())


@contextlib.contextmanager
def whole_folder(path: Path, parts: Sequence[Path] | None = None) -> Iterator[Path]:
    """A folder to fill, whose `parts` are put into `path` only when the block ends well.

    parts: None: all that is in it, and `path` must be new or empty.

    Raises:
        OutputError: a part is there already, or the folder cannot be made or written.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"cannot make the folder {path}: it is a file; choose another name")
    try:
        if parts is None and path.is_dir() and any(path.iterdir()):
            raise OutputError(f"{path} holds files already; empty it, or choose another folder")
        for part in parts or ():
            if (path / part).exists():
                raise OutputError(
                    f"{path / part} is there already; remove it, or choose another folder"
                )
        place = path if path.is_dir() else path.parent
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}.", suffix=".part", dir=place, ignore_cleanup_errors=True
        ) as scratch:
            filled = Path(scratch)
            yield filled
            path.mkdir(exist_ok=True)
            for part in (
                sorted(Path(own.name) for own in filled.iterdir()) if parts is None else parts
            ):
                (path / part).parent.mkdir(parents=True, exist_ok=True)
                os.replace(filled / part, path / part)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {path}: {error.strerror or error}; expected a new folder in "
            "a place with room and write permission"
        ) from error
