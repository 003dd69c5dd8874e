"""Labelled pictures to measure on: `.npz` files, CIFAR-C folders, ImageNet-C trees, folders.

Every corruption of a set holds the same pictures in the same order.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.errors import SourceError
from edge_tta.frames import open_source
from edge_tta.prepare import Pixels, resize

CLEAN = "clean"
"""Name of the pictures without corruption; not counted in means over corruptions."""

_FORMS = (
    "expected an .npz file (one uint8 array (n, H, W, 3) for each corruption, and labels), a "
    "CIFAR-C folder (<corruption>.npy, labels.npy), an ImageNet-C tree "
    "(<corruption>/<severity>/...), or a folder of labelled pictures"
)


@dataclass(frozen=True)
class LabelledSet:
    """Corrupted copies of the same n pictures.

    Attributes:
        name: for reports.
        severity: 1 to 5, or 0 where unknown or clean.
        corruptions: name -> pictures (n, size, size, 3) uint8 RGB.
        labels: (n,) int64.
    """

    name: str
    severity: int
    corruptions: Mapping[str, Pixels]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def load_set(
    path: str | Path,
    size: int,
    *,
    severity: int = 5,
    limit: int | None = None,
    only: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> LabelledSet:
    """Reads a set, its pictures brought to size x size.

    Args:
        severity: which one of a set that has several, 1 to 5.
        limit: the first so many pictures.
        only: the corruptions to take, None: all.
        classes: class names, for labels by folder name.

    Raises:
        SourceError: nothing readable there, sizes that do not agree, or an unknown corruption.
    """
    path = Path(path)
    if path.suffix == ".npz":
        arrays, labels, severity = _from_npz(path, limit, only, severity)
    elif path.is_dir() and (path / "labels.npy").is_file():
        arrays, labels = _from_npy(path, severity, limit, only)
    elif path.is_dir():
        arrays, labels, severity = _from_folders(path, severity, limit, only, size, classes)
    else:
        raise SourceError(f"no set at {path}; {_FORMS}")
    if not arrays:
        raise SourceError(f"{path} holds no corruption; {_FORMS}")
    for name, array in arrays.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3:
            raise SourceError(
                f"{path}: {name} is {array.dtype} {array.shape}; expected uint8 (n, H, W, 3)"
            )
        if len(array) != len(labels):
            raise SourceError(
                f"{path}: {name} has {len(array)} pictures and there are {len(labels)} labels"
            )
    sized = {name: _sized(array, size) for name, array in arrays.items()}
    return LabelledSet(path.stem, severity, sized, labels.astype(np.int64))


def load_npz_pictures(
    path: Path, limit: int | None
) -> tuple[Pixels, npt.NDArray[Any], dict[str, npt.NDArray[Any]]]:
    """Clean pictures `images` (n, H, W, 3), `labels` (n,), and `classes` if there are any.

    Raises:
        SourceError: they are not there.
    """
    wanted = "expected an .npz with images (n, H, W, 3) uint8 and labels (n,)"
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["images"][:limit], file["labels"][:limit]
            more = {"classes": file["classes"]} if "classes" in file.files else {}
    except KeyError as error:
        raise SourceError(f"{path} lacks an array ({_one_line(error)}); {wanted}") from error
    except _BAD_FILE as error:
        raise SourceError(f"cannot read {path} ({_one_line(error)}); {wanted}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(labels):
        raise SourceError(f"{path}: images are {images.dtype} {images.shape}; {wanted}")
    return images, labels, more


_BAD_FILE = (OSError, ValueError, zipfile.BadZipFile, EOFError, TypeError)


def _from_npz(
    path: Path, limit: int | None, only: Sequence[str] | None, severity: int
) -> tuple[dict[str, Pixels], npt.NDArray[Any], int]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if "labels" not in file.files:
                raise SourceError(f"{path} has no array 'labels'; {_FORMS}")
            names = [n for n in file.files if n not in ("labels", "classes", "severity")]
            clean_only = names == ["images"]
            chosen = _chosen([CLEAN] if clean_only else names, only, path)
            arrays = {n: file["images" if clean_only else n][:limit] for n in chosen}
            known = int(file["severity"]) if "severity" in file.files else severity
            return arrays, file["labels"][:limit], 0 if clean_only else known
    except _BAD_FILE as error:
        raise SourceError(f"cannot read {path} ({_one_line(error)}); {_FORMS}") from error


def _from_npy(
    folder: Path, severity: int, limit: int | None, only: Sequence[str] | None
) -> tuple[dict[str, Pixels], npt.NDArray[Any]]:
    """Five severities stacked, one fifth of the file each."""
    names = sorted(p.stem for p in folder.glob("*.npy") if p.stem != "labels")
    try:
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        arrays = {}
        for name in _chosen(names, only, folder):
            stacked = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            n = len(stacked) // 5
            part = stacked[(severity - 1) * n : severity * n]
            arrays[name] = np.ascontiguousarray(part[:limit])
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"cannot read {folder} ({_one_line(error)}); {_FORMS}") from error
    n = len(labels) // 5
    # Official sets repeat the labels for each severity; a single copy is understood too.
    five = all(len(a) <= n for a in arrays.values()) if limit is None else len(labels) % 5 == 0
    if five and n and np.array_equal(labels[:n], labels[n : 2 * n]):
        labels = labels[(severity - 1) * n : severity * n]
    return arrays, labels[:limit]


def _from_folders(
    root: Path,
    severity: int,
    limit: int | None,
    only: Sequence[str] | None,
    size: int,
    classes: Sequence[str] | None,
) -> tuple[dict[str, Pixels], npt.NDArray[Any], int]:
    """<corruption>/<severity>/ anywhere below the root (ImageNet-C groups them); else clean."""
    found = sorted(p for p in (*root.glob("*/[1-5]"), *root.glob("*/*/[1-5]")) if p.is_dir())
    folders = {p.parent.name: p for p in found if p.name == str(severity)}
    if found and not folders:
        raise SourceError(
            f"{root} has no severity {severity}; it has "
            f"{', '.join(sorted({p.name for p in found}))}: choose one with --severity"
        )
    if not folders:
        folders, severity = {CLEAN: root}, 0
    elif (root / CLEAN).is_dir():
        folders[CLEAN] = root / CLEAN
    arrays: dict[str, Pixels] = {}
    labels: npt.NDArray[Any] | None = None
    names: list[str] = []
    for corruption in _chosen(list(folders), only, root):
        with open_source(str(folders[corruption]), max_frames=limit, classes=classes) as source:
            frames = [frame for frame in source if frame.label is not None]
        if not frames:
            raise SourceError(
                f"{folders[corruption]} has no labels; expected a labels.csv beside the pictures, "
                "or folders named like the classes (--labels FILE) or numbered from 0"
            )
        arrays[corruption] = np.stack([resize(frame.pixels, size) for frame in frames])
        here = [Path(frame.name).with_suffix("").as_posix() for frame in frames]
        if labels is None:
            labels, names = np.array([frame.label for frame in frames]), here
        elif here != names:
            raise SourceError(
                f"{folders[corruption]} does not hold the same pictures as the other corruptions"
            )
    assert labels is not None
    return arrays, labels, severity


def _chosen(names: Sequence[str], only: Sequence[str] | None, path: Path) -> list[str]:
    if only is None:
        return list(names)
    for name in only:
        if name not in names:
            raise SourceError(f"{path} has no {name}; it has {', '.join(names)}")
    return list(only)


def _sized(array: Pixels, size: int) -> Pixels:
    if array.shape[1:3] == (size, size):
        return array
    return np.stack([resize(frame, size) for frame in array])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
