"""What `edge-tta corrupt` writes: pictures, and folders that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
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
def whole_folder(path: Path, parts: Sequence[Path]) -> Iterator[Path]:
    """A folder to fill, whose `parts` are put into `path` only when the block ends well.

    Raises:
        OutputError: a part is there already, or the folder cannot be made or written.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"cannot make the folder {path}: it is a file; choose another name")
    for part in parts:
        if (path / part).exists():
            raise OutputError(
                f"{path / part} is there already; remove it, or choose another folder"
            )
    with _told(path), _scratch(path) as filled:
        yield filled
        for part in parts:
            (path / part).parent.mkdir(parents=True, exist_ok=True)
            os.replace(filled / part, path / part)


@contextlib.contextmanager
def whole_new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, all of which is put into `path` only when the block ends well.

    Raises:
        OutputError: `path` is there already and not an empty folder, or it cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"cannot make the folder {path}: it is a file; choose another name")
    with _told(path):
        if path.is_dir() and any(path.iterdir()):
            raise OutputError(f"{path} holds files already; empty it, or choose another folder")
        with _scratch(path) as filled:
            yield filled
            path.mkdir(exist_ok=True)
            for entry in sorted(filled.iterdir()):
                os.replace(entry, path / entry.name)


@contextlib.contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A hidden folder on the file system of `path`, gone at the end."""
    filled: Path | None = None
    try:
        place = path if path.is_dir() else path.parent
        place.mkdir(parents=True, exist_ok=True)
        filled = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=place))
        yield filled
    finally:
        if filled is not None:
            shutil.rmtree(filled, ignore_errors=True)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {path}: {error.strerror or error}; expected a new folder in "
            "a place with room and write permission"
        ) from error
