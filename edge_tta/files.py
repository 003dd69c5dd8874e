"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edge_tta.errors import OutputError


def write_whole(path: str | Path, data: bytes) -> None:
    """Writes a file so that at any moment, even after a power cut, it is the old one or the new.

    Raises:
        OutputError: the folder is missing or read-only, or the disk is full; the old file stays.
    """
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its name only when the block ends well; see `write_whole`.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name at once.
    """
    target = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
        ) as file:
            temporary = file.name
            yield file
            file.flush()
            os.fsync(file.fileno())
        _like_a_new_file(temporary)
        os.replace(temporary, target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise OutputError(
            f"cannot write {target}: {error.strerror or error}; expected an existing folder with "
            "room and write permission"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _like_a_new_file(path: str) -> None:
    """Temporary files are private; the finished one has the permissions of any new file."""
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(path, 0o666 & ~mask)


def _sync_folder(folder: Path) -> None:
    """The rename itself reaches the disk, where the system allows to ask for it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
