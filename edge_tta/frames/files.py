"""Pictures in files: one file, a folder, a glob pattern."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tta.errors import SourceError
from edge_tta.frames.labels import ClassNames, read_labels
from edge_tta.frames.pictures import PICTURE_SUFFIXES, decode_picture
from edge_tta.frames.source import Frame, FrameSource, Pick


@dataclass(frozen=True)
class Picture:
    """One encoded picture: where its bytes come from, and what is known about it."""

    name: str
    load: Callable[[], bytes]
    label: int | None = None


class PictureSource(FrameSource):
    """Encoded pictures in a given order. Unreadable ones are counted as "unreadable" and skipped.

    Raises SourceError at the end when not one could be read.
    """

    def __init__(self, name: str, pictures: Sequence[Picture], pick: Pick) -> None:
        super().__init__(name, length=pick.count(len(pictures)), fps=pick.fps)
        self._pictures = pictures
        self._pick = pick
        self._position = 0
        self._given = 0

    def read(self) -> Frame | None:
        """The next readable picture."""
        while self._position < len(self._pictures) and not self._pick.ended(self._given):
            position, self._position = (self._position, self._position + self._pick.stride)
            picture = self._pictures[position]
            try:
                pixels = decode_picture(picture.load())
            except OSError:
                pixels = None
            if pixels is None:
                self.dropped["unreadable"] += 1
                continue
            index, self._given = self._given, self._given + 1
            time_s = position / (self._pick.fps or 1.0)
            return Frame(index, pixels, time_s, picture.name, picture.label)
        if self._given == 0:
            raise SourceError(
                f"{self.name}: none of {self.dropped['unreadable']} pictures could be read "
                f"(damaged, not really a picture, or no permission); check the files"
            )
        return None


def open_picture(path: Path, pick: Pick, classes: Sequence[str] | None) -> PictureSource:
    """The one picture in a file."""
    return PictureSource(path.name, _described([path], path.parent, classes), pick)


def open_folder(folder: Path, pick: Pick, classes: Sequence[str] | None) -> PictureSource:
    """All pictures of a folder, in natural order (2 before 10).

    Subfolders are searched too when the folder itself has no pictures, or when one of them is
    called like a class (or a number); hidden files and folders are left out.
    """
    names = ClassNames(classes)
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"cannot read the folder {folder}: {error.strerror}") from error
    found = [entry for entry in entries if is_picture(entry)]
    subfolders = [entry for entry in entries if entry.is_dir()]
    if not found or any(names.index(entry.name) is not None for entry in subfolders):
        for subfolder in subfolders:
            for parent, inner, files in os.walk(subfolder):
                inner[:] = [name for name in inner if not name.startswith(".")]
                found += [Path(parent, name) for name in files if is_picture(Path(parent, name))]
    if not found:
        inside = ", ".join(sorted({entry.suffix or entry.name for entry in entries})[:5])
        raise SourceError(
            f"the folder {folder} holds no pictures ({inside or 'it is empty'}); "
            f"expected files such as .jpg or .png, or class folders with such files"
        )
    return PictureSource(folder.resolve().name, _described(found, folder, classes), pick)


def open_pattern(pattern: str, pick: Pick, classes: Sequence[str] | None) -> PictureSource:
    """All pictures that a glob pattern names (`**` spans folders), in natural order."""
    expanded = os.path.expanduser(pattern)
    matches = [Path(match) for match in glob.glob(expanded, recursive=True)]
    found = [match for match in matches if is_picture(match)]
    if not found:
        advice = (
            f"its {len(matches)} matches are not pictures; a video is given by its own name"
            if matches
            else "nothing matches it; check it with ls, and quote it so that the shell keeps it"
        )
        raise SourceError(f"the pattern {pattern} finds no pictures: {advice}")
    parts = Path(expanded).parts
    fixed = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    return PictureSource(pattern, _described(found, Path(*parts[:fixed]), classes), pick)


def is_picture(path: Path) -> bool:
    """Whether the name is a picture's and not hidden (as the `._` files of some systems are)."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], name


def _described(paths: Iterable[Path], root: Path, classes: Sequence[str] | None) -> list[Picture]:
    """Pictures in natural order, with names relative to `root` and labels where they exist."""
    names = ClassNames(classes)
    tables: dict[Path, dict[str, int]] = {}
    pictures = []
    for path in paths:
        relative = path.relative_to(root)
        for folder in (path.parent, root):
            if folder not in tables:
                table = folder / "labels.csv"
                tables[folder] = read_labels(table, names) if table.is_file() else {}
        label = _table_label(path.name, tables[path.parent])
        if label is None:
            label = _table_label(relative.as_posix(), tables[root])
        if label is None and relative.parent.name:
            label = names.index(relative.parent.name)
        pictures.append(Picture(relative.as_posix(), path.read_bytes, label))
    return sorted(pictures, key=lambda picture: natural_key(picture.name))


def _table_label(name: str, table: dict[str, int]) -> int | None:
    """A file's label by its name, else by its name without suffix."""
    return table.get(name, table.get(str(Path(name).with_suffix(""))))
