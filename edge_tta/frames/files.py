"""Pictures in files: one file, a folder, a glob pattern."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edge_tta.errors import SourceError
from edge_tta.frames.animation import Loaded, frames_in, loaders
from edge_tta.frames.labels import ClassNames, read_labels
from edge_tta.frames.names import printable
from edge_tta.frames.pictures import PICTURE_SUFFIXES, PNG, Depth, decode_capture, to_rgb
from edge_tta.frames.source import Frame, FrameSource, Pick
from edge_tta.frames.video import open_video

NUMBER = re.compile(r"%0?(\d?)d")
"""The number in names such as `img_%04d.jpg`."""


@dataclass(frozen=True)
class Picture:
    """One picture: how it is loaded, which may fail with OSError, and what is known about it."""

    name: str
    load: Callable[[], Loaded]
    label: int | None = None


class PictureSource(FrameSource):
    """Pictures in a given order. Unreadable ones are counted as "unreadable" and skipped.

    Raises SourceError at the end when not one could be read.
    """

    def __init__(self, name: str, pictures: Sequence[Picture], pick: Pick) -> None:
        fps = None if pick.fps is None else pick.fps / pick.stride
        super().__init__(name, length=pick.count(len(pictures)), fps=fps)
        self._pictures = pictures
        self._pick = pick
        self._depth = Depth()
        self._position = 0
        self._given = 0

    def read(self) -> Frame | None:
        """The next readable picture."""
        while self._position < len(self._pictures) and not self._pick.ended(self._given):
            position, self._position = (self._position, self._position + self._pick.stride)
            picture = self._pictures[position]
            try:
                loaded = picture.load()
            except OSError:
                loaded = Loaded(None)
            if loaded.pixels is None:
                self.dropped["unreadable"] += 1
                continue
            if loaded.further:
                self.dropped["further pictures of a file"] += loaded.further
            index, self._given = self._given, self._given + 1
            pixels, time_s = to_rgb(loaded.pixels, self._depth), position / (self._pick.fps or 1.0)
            return Frame(index, pixels, time_s, picture.name, picture.label)
        if self._given == 0:
            raise SourceError(
                f"{self.name}: none of {self.dropped['unreadable']} pictures could be read "
                f"(damaged, floating point, not really a picture, or no permission); check the files"
            )
        return None


def open_picture(path: Path, pick: Pick, classes: Sequence[str] | None) -> FrameSource:
    """The one picture in a file, or all those in an animation or a TIFF with pages."""
    (picture,) = _described([path], path.parent, classes)
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if frames_in(data) == 1:
        return PictureSource(picture.name, [picture], pick)
    if data.startswith(PNG):  # OpenCV's captures play these too, and need little memory
        return open_video(path, pick)
    pictures = [
        replace(picture, name=f"{picture.name}#{number}", load=load)
        for number, load in enumerate(loaders(data, picture.name))
    ]
    return PictureSource(picture.name, pictures, pick)


def open_folder(folder: Path, pick: Pick, classes: Sequence[str] | None) -> PictureSource:
    """All pictures of a folder, in natural order (2 before 10).

    Subfolders are searched too when the folder itself has no pictures, or when one of them is
    called like a class (or a number). Links are followed, but not in a circle; hidden files and
    folders are left out.
    """
    names = ClassNames(classes)
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"cannot read the folder {folder}: {error.strerror}") from error
    subfolders = [entry for entry in entries if entry.is_dir()]
    pictures = [entry for entry in entries if is_picture(entry) and entry not in subfolders]
    closed: list[OSError] = []
    if not pictures or any(names.index(entry.name) is not None for entry in subfolders):
        for parent, inner, files in os.walk(folder, onerror=closed.append, followlinks=True):
            inner[:] = [
                name for name in inner if name[0] != "." and not _leads_back(Path(parent, name))
            ]
            if Path(parent) != folder:
                pictures += [Path(parent, name) for name in files if is_picture(Path(name))]
    if not pictures:
        inside = ", ".join(sorted({entry.suffix or entry.name for entry in entries})[:5])
        raise SourceError(
            f"the folder {folder} holds no pictures ({inside or 'it is empty'}); "
            f"expected files such as .jpg or .png, or class folders with such files"
        )
    name = printable(folder.resolve().name)
    source = PictureSource(name, _described(pictures, folder, classes), pick)
    if closed:
        source.dropped["folders without permission"] = len(closed)
    return source


def open_pattern(pattern: str, pick: Pick, classes: Sequence[str] | None) -> PictureSource:
    """All pictures that a glob pattern names (`**` spans folders), in natural order."""
    path = Path(os.path.expanduser(pattern))
    fixed = next(at for at, part in enumerate(path.parts) if glob.has_magic(part))
    root, wanted = Path(*path.parts[:fixed]), str(path)
    if path.parent.is_dir():  # its own name may hold brackets
        root, wanted = path.parent, os.path.join(glob.escape(str(path.parent)), path.name)
    matches = [Path(match) for match in glob.glob(wanted, recursive=True)]
    return _matching(pattern, [m for m in matches if not _leads_back(m)], root, pick, classes)


def open_numbered(pattern: str, pick: Pick, classes: Sequence[str] | None) -> PictureSource:
    """All pictures named like `seq/img_%04d.jpg`, by number; any may be missing."""
    path = Path(os.path.expanduser(pattern))
    shape = NUMBER.sub(lambda number: rf"\d{{{number[1] or 1},}}", re.escape(path.name))
    entries = path.parent.iterdir() if path.parent.is_dir() else ()
    matches = [entry for entry in entries if re.fullmatch(shape, entry.name)]
    return _matching(pattern, matches, path.parent, pick, classes)


def is_picture(path: Path) -> bool:
    """Whether the name is a picture's and not hidden (as the `._` files of some systems are)."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], name


def _matching(
    pattern: str, matches: list[Path], root: Path, pick: Pick, classes: Sequence[str] | None
) -> PictureSource:
    """The pictures among the files that a pattern names."""
    pictures = [match for match in matches if is_picture(match)]
    if not pictures:
        advice = (
            f"its {len(matches)} matches are not pictures; a video is given by its own name"
            if matches
            else "nothing matches it; check it with ls, and quote it so that the shell keeps it"
        )
        raise SourceError(f"the pattern {pattern} finds no pictures: {advice}")
    return PictureSource(printable(pattern), _described(pictures, root, classes), pick)


def _leads_back(path: Path) -> bool:
    """Whether a link on the way leads to a folder that the way has come through."""
    way = [path, *path.absolute().parents]
    for at, step in enumerate(way):
        if step.is_symlink():
            target = os.path.realpath(step)
            if any(os.path.realpath(above) == target for above in way[at + 1 :]):
                return True
    return False


def _loaded(path: Path) -> Loaded:
    """What an ordinary file gives; a pipe, which could block for ever, is an OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("not an ordinary file")
    data = path.read_bytes()
    return Loaded(decode_capture(data), frames_in(data) - 1)


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
        name = printable(relative.as_posix())
        pictures.append(Picture(name, partial(_loaded, path), label))
    return sorted(pictures, key=lambda picture: natural_key(picture.name))


def _table_label(name: str, table: dict[str, int]) -> int | None:
    """A file's label by its name, else by its name without suffix."""
    return table.get(name, table.get(str(Path(name).with_suffix(""))))
