"""Pictures in files: one file, a folder, a glob pattern."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edge_tta.errors import SourceError
from edge_tta.frames.addresses import without_secrets
from edge_tta.frames.animation import Loaded, frames_in, loaders
from edge_tta.frames.arrays import SUFFIX, open_array_files
from edge_tta.frames.finding import (
    expanded,
    folders_below,
    is_picture,
    natural_key,
    numbered,
    visible,
)
from edge_tta.frames.labels import ClassNames, read_labels
from edge_tta.frames.names import printable
from edge_tta.frames.pictures import PNG, Depth, decode_capture, to_rgb
from edge_tta.frames.source import Frame, FrameSource, Pick
from edge_tta.frames.video import open_video

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """One picture: how it is loaded, which may fail with OSError, and what is known about it."""

    name: str
    load: Callable[[], Loaded]
    label: int | None = None
    path: Path | None = None


class PictureSource(FrameSource):
    """Pictures in a given order. Unreadable ones are counted as "unreadable" and skipped.

    Raises SourceError at the end when not one could be read.
    """

    def __init__(self, name: str, pictures: Sequence[Picture], pick: Pick) -> None:
        fps = None if pick.fps is None else pick.fps / pick.stride
        super().__init__(name, length=pick.count(len(pictures)), fps=fps)
        self._pictures = pictures
        self.files = [picture.path for picture in pictures if picture.path is not None]
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
                f"{self.name}: none of {self.dropped['unreadable']} pictures could be read: "
                f"damaged, floating point, no pictures, or no permission; check the files"
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
    names, closed = ClassNames(classes), list[OSError]()
    entries = visible(folder, closed)
    if closed:
        raise SourceError(f"cannot read the folder {folder}: {closed[0].strerror}")
    pictures = [entry for entry in entries if is_picture(entry) and not entry.is_dir()]
    labelled = any(names.index(e.name) is not None for e in entries if e.is_dir())
    if labelled or not pictures:
        for below in folders_below(folder, closed):
            pictures += [e for e in visible(below, []) if is_picture(e) and not e.is_dir()]
    if not pictures:
        endings = ", ".join(sorted({entry.suffix or entry.name for entry in entries})[:5])
        raise SourceError(
            f"the folder {folder} holds no pictures ({endings or 'it is empty'}); "
            f"expected files such as .jpg or .png, or class folders with such files"
        )
    name = printable(folder.resolve().name)
    source = PictureSource(name, _described(pictures, folder, classes), pick)
    if closed:
        source.dropped["folders without permission"] = len(closed)
    return source


def open_pattern(pattern: str, pick: Pick, classes: Sequence[str] | None) -> FrameSource:
    """All pictures that a glob pattern names (`**` spans folders), in natural order; or arrays."""
    parts = Path(os.path.expanduser(pattern)).parts
    fixed = 0
    while fixed < len(parts) - 1 and os.path.lexists(Path(*parts[: fixed + 1])):
        fixed += 1
    root = Path(*parts[:fixed])
    return _matching(pattern, list(expanded(root, parts[fixed:])), root, pick, classes)


def open_numbered(pattern: str, pick: Pick, classes: Sequence[str] | None) -> FrameSource:
    """All pictures named like `seq/img_%04d.jpg`, by number; any may be missing; or arrays."""
    path = Path(os.path.expanduser(pattern))
    return _matching(pattern, numbered(path), path.parent, pick, classes)


def _matching(
    pattern: str, matches: list[Path], root: Path, pick: Pick, classes: Sequence[str] | None
) -> FrameSource:
    """The pictures among the files that a pattern names, else its arrays."""
    pictures = [match for match in matches if is_picture(match)]
    arrays = [match for match in matches if match.suffix == SUFFIX]
    if arrays and not pictures:
        return open_array_files(printable(pattern), arrays, pick)
    if not pictures:
        advice = (
            f"its {len(matches)} matches are not pictures; a video is given by its own name"
            if matches
            else "nothing matches it; check it with ls, and quote it so that the shell keeps it"
        )
        raise SourceError(f"the pattern {without_secrets(pattern)} finds no pictures: {advice}")
    return PictureSource(printable(pattern), _described(pictures, root, classes), pick)


def _loaded(path: Path) -> Loaded:
    """Load an ordinary file; a pipe, which could block for ever, is an OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("not an ordinary file")
    data = path.read_bytes()
    return Loaded(decode_capture(data), frames_in(data) - 1)


def _described(paths: Iterable[Path], root: Path, classes: Sequence[str] | None) -> list[Picture]:
    """Pictures in natural order, with names relative to `root` and labels where they exist."""
    names, of_folders = ClassNames(classes), ClassNames(classes)
    tables: dict[Path, dict[str, int]] = {}
    pictures, by_folder = [], 0
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
            label = of_folders.index(relative.parent.name)
            by_folder += label is not None
        name = printable(relative.as_posix())
        pictures.append(Picture(name, partial(_loaded, path), label, path))
    # Folders of which none is called like a class are no labels.
    unknown = names.unknown + (of_folders.unknown if by_folder else Counter())
    if unknown:
        shown = ", ".join(printable(text) for text in list(unknown)[:3])
        more = ", ..." if len(unknown) > 3 else ""
        _log.warning(
            "%s: %d of the labels are no class of the network (%s%s), and their pictures count as "
            "unlabelled; correct them, or name the classes with --labels",
            *(printable(str(root)), unknown.total(), shown, more),
        )
    return sorted(pictures, key=lambda picture: natural_key(picture.name))


def _table_label(name: str, table: dict[str, int]) -> int | None:
    """A file's label by its name, else by its name without suffix."""
    return table.get(name, table.get(str(Path(name).with_suffix(""))))
