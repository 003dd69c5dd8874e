"""The save before the last one, kept for the day that the last one cannot be read."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_tta.errors import DamagedStateError, StateError
from edge_tta.files import write_whole


def previous_of(path: Path) -> Path:
    """Return the path of the save before the last one."""
    return path.with_name(f"{path.name}.previous")


def damaged_of(path: Path) -> Path:
    """Return the path where a damaged state stays for inspection."""
    return path.with_name(f"{path.name}.damaged")


@contextlib.contextmanager
def keeping_previous(path: Path) -> Iterator[None]:
    """A block that replaces `path`; what stood there is the previous save if the block ends well.

    It is a second name of the same file, which costs no room and no time. File systems without
    such names (FAT) keep no previous save.
    """
    # Hidden, and such as `remove_leftovers` knows.
    second = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with contextlib.suppress(OSError):
        os.link(path, second)
    try:
        yield
        with contextlib.suppress(OSError):
            os.replace(second, previous_of(path))
    finally:
        with contextlib.suppress(OSError):
            os.unlink(second)


def load_or_previous(load: Callable[[Path], None], path: Path) -> str | None:
    """Loads a state; if it is damaged, the one before it, which takes its place.

    Returns:
        None; else what was done, in one line.

    Raises:
        StateError: it cannot be loaded, and no previous one can; all files are as before.
        OutputError: the previous one cannot take its place.
    """
    try:
        load(path)
    except DamagedStateError as error:
        previous = previous_of(path)
        if not previous.is_file():
            raise
        try:
            load(previous)
        except StateError:
            raise error from None
        with contextlib.suppress(OSError):
            damaged_of(path).unlink(missing_ok=True)
            os.link(path, damaged_of(path))
        write_whole(path, previous.read_bytes())
        return (
            f"{path} is damaged; going on from the save before it. The damaged file is kept as "
            f"{damaged_of(path)}; check the disk"
        )
    return None
