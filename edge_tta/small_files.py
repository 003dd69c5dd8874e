"""Reading of files that others made: ordinary ones, and no more of them than is sensible."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MIB = 1 << 20


def check_ordinary(path: str | Path) -> None:
    """Refuse what is there but no ordinary file: pipes make a reader wait, devices never end.

    Raises:
        OSError: it is a pipe, a device, a socket or a folder, or not to be looked at.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")


def read_small(path: str | Path, most_bytes: int) -> bytes:
    """Return a file's bytes, of a pipe too.

    Raises:
        OSError: it cannot be read, or has more than `most_bytes`.
    """
    with open(path, "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes / MIB:g} MiB")
    return data
