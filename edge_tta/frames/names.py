"""File names as OpenCV takes them, and as they may be printed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def printable(name: str) -> str:
    r"""Return a file name with bytes that are not UTF-8 written as \xe9.

    Printing such a name fails, and as a window's title it crashes OpenCV.
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def opencv_name(path: Path) -> Iterator[str]:
    """The name under which OpenCV can open or make the file at `path` inside the block.

    It is absolute, because FFmpeg takes a relative name with a colon for an address; and where a
    name is not UTF-8, on which OpenCV crashes, it is that of a link to the file.

    Raises OSError when the link cannot be made.
    """
    name = str(path.absolute())
    if printable(name) == name:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="edge-tta-") as folder:
        # The ending says which container is to be written.
        link = os.path.join(folder, f"video{printable(path.suffix)}")
        os.symlink(name, link)
        yield link
