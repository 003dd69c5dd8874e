"""Files written whole or not at all, in places found fit before the work."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from edge_tta.errors import OutputError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PART = ".part"


def check_folder(path: Path, doing: str = "write to") -> None:
    """Refuses a path that is a folder, or whose folder is missing.

    Raises:
        OutputError: it is so; `doing` says what cannot be done.
    """
    if path.is_dir():
        raise OutputError(f"cannot {doing} {path}: it is a folder; add a file name")
    if not path.parent.is_dir():
        raise OutputError(
            f"cannot {doing} {path}: the folder {path.parent} does not exist; make it first"
        )


def same_file(one: Path, other: Path) -> bool:
    """Tell whether both name one file that exists."""
    try:
        return one.is_file() and one.samefile(other)
    except OSError:
        return False


def check_place(path: Path, doing: str = "write to") -> None:
    """Refuses a place where `write_whole` cannot put a file, as far as can be told beforehand.

    Raises:
        OutputError: no such folder, no permission, or something there that is not a file.
    """
    check_folder(path, doing)
    if path.exists() and not path.is_file():
        # The finished file is renamed, which would replace a device by an ordinary file.
        raise OutputError(f"cannot {doing} {path}: it is not an ordinary file; choose another")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot {doing} {path}: no permission for the folder {path.parent}; choose another"
        )


def remove_leftovers(path: Path) -> int:
    """Removes what writers of `path` left behind when they were killed; returns how many files.

    A file that is still being written is locked by its writer, and stays.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        left = [entry.path for entry in entries if _is_part_of(entry.name, path)]
        for part in left:
            with contextlib.suppress(OSError), open(part, "r+b") as file:
                if _lock(file):
                    os.unlink(part)
                    removed += 1
    return removed


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
            dir=target.parent, prefix=f".{target.name}.", suffix=_PART, delete=False
        ) as file:
            temporary = file.name
            _lock(file)
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


def _is_part_of(name: str, path: Path) -> bool:
    """Return True where a file is called as `whole_file` calls the unfinished `path`."""
    middle = name.removeprefix(f".{path.name}.").removesuffix(_PART)
    return name == f".{path.name}.{middle}{_PART}" and "." not in middle


def _lock(file: IO[bytes]) -> bool:
    """Takes an open file for this process alone, as long as it is open. False: another has it, or
    this system has no such locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
