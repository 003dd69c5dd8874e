"""Files in folders, by glob pattern, by number; in an order that people expect."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_tta.frames.pictures import PICTURE_SUFFIXES

NUMBER = re.compile(r"%0?(\d?)d")
"""The number in names such as `img_%04d.jpg`."""


def is_picture(path: Path) -> bool:
    """Return True for a picture's name that is not hidden (as the `._` files of some systems)."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], name


def numbered(pattern: Path) -> list[Path]:
    """All files named like `img_%04d.jpg`, which has that many digits at least."""
    shape = NUMBER.sub(lambda number: rf"\d{{{number[1] or 1},}}", re.escape(pattern.name))
    return [entry for entry in visible(pattern.parent, []) if re.fullmatch(shape, entry.name)]


def expanded(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield what a pattern names below a folder; a part that exists as it is spelled is no pattern.

    The standard library's glob would follow links in a circle.
    """
    if not parts:
        if os.path.lexists(folder):
            yield folder
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        for below in (folder, *folders_below(folder, [])):
            yield from expanded(below, rest or "*")
    elif os.path.lexists(folder / first) or not glob.has_magic(first):
        yield from expanded(folder / first, rest)
    else:
        for entry in visible(folder, []):
            if fnmatch.fnmatchcase(entry.name, first):
                yield from expanded(entry, rest)


def visible(folder: Path, closed: list[OSError]) -> list[Path]:
    """Return what is not hidden in a folder; unreadable: nothing, and the error to `closed`."""
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        closed.append(error)
        return []


def folders_below(folder: Path, closed: list[OSError]) -> Iterator[Path]:
    """All folders in a folder, at any depth; links are followed, but not in a circle."""
    for entry in visible(folder, closed):
        if entry.is_dir() and not (entry.is_symlink() and _leads_back(entry)):
            yield entry
            yield from folders_below(entry, closed)


def _leads_back(link: Path) -> bool:
    """Return True where a link leads to a folder that the way to it has come through."""
    target = os.path.realpath(link)
    return any(os.path.realpath(above) == target for above in link.absolute().parents)
