"""Labelled pictures to measure on: `.npz` files, CIFAR-C folders, ImageNet-C trees, folders.

Every corruption of a set holds the same pictures in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.arrays import ALONE, are_inputs, checked_inputs
from edge_tta.array_files import open_npy, open_npz
from edge_tta.errors import SourceError, did_you_mean
from edge_tta.frames import open_source
from edge_tta.prepare import Pixels, Size, resize, sides_of

CLEAN = "clean"
"""Name of the pictures without corruption; not counted in means over corruptions."""

DRIFT = "drift"
"""Name of a stream whose corruption changes from frame to frame."""

DRIFT_TABLE = "drift.csv"
"""File beside a drift's pictures that tells what was done to each."""

_NO_PICTURES = ("labels", "classes", "severity", "kinds", "severities", "track")
"""Arrays of an .npz that are no pictures; of each frame: kind and severity in a drift, track."""

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
        severity: 1 to 5, or 0 where unknown, clean or several.
        corruptions: name -> pictures (n, H, W, 3) uint8 RGB, of the size asked for; or inputs
            (n, channels, H, W) float32 (`bench.arrays`).
        labels: (n,) int64.
    """

    name: str
    severity: int
    corruptions: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def load_set(
    path: str | Path,
    size: Size,
    *,
    severity: int = 5,
    limit: int | None = None,
    only: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    shape: tuple[int, ...] | None = None,
) -> LabelledSet:
    """Reads a set.

    Args:
        size: of the pictures that are made of the set's, S or (H, W).
        severity: which one of a set that has several, 1 to 5.
        limit: the first so many pictures.
        only: the corruptions to take, None: all.
        classes: class names, for labels by folder name.
        shape: (channels, H, W) of the network's inputs, which a set may hold; None: pictures alone.

    Raises:
        SourceError: nothing readable there, sizes that do not agree, or an unknown corruption.
    """
    path = Path(path)
    if path.suffix == ".npz":
        arrays, labels, severity = _from_npz(path, only, severity)
    elif path.is_dir() and (path / "labels.npy").is_file():
        arrays, labels = _from_npy(path, severity, only)
    elif path.is_dir():
        arrays, labels, severity = _from_folders(path, severity, limit, only, size, classes)
    else:
        raise SourceError(f"no set at {path}; {_FORMS}")
    if not arrays:
        raise SourceError(f"{path} holds no corruption; {_FORMS}")
    _check_labels(path, labels)
    own: dict[str, npt.NDArray[Any]] = {}
    for name, array in arrays.items():
        if shape is not None and any(map(are_inputs, arrays.values())):
            own[name] = checked_inputs(path, name, array, len(labels), shape)[:limit]
        else:
            _check_pictures(path, name, array, len(labels))
            own[name] = _sized(_rgb(array[:limit]), size)
    return LabelledSet(path.stem, severity, own, labels[:limit].astype(np.int64))


def severities_of(path: Path) -> tuple[int, ...]:
    """The severities that a CIFAR-C folder or an ImageNet-C tree has; none for what has but one."""
    if (path / "labels.npy").is_file():
        return (1, 2, 3, 4, 5)
    return tuple(sorted({int(folder.name) for folder in _severity_folders(path)}))


def load_npz_pictures(
    path: Path, limit: int | None
) -> tuple[Pixels, npt.NDArray[Any], dict[str, npt.NDArray[Any]]]:
    """Clean pictures `images` (n, H, W, 3), `labels` (n,), and what there is of `classes` and
    `track` (n,), numbers of the recordings that the pictures are of. `image` and `label` do too.

    Raises:
        SourceError: they are not there.
    """
    wanted = "expected an .npz with images (n, H, W, 3) uint8 and labels (n,)"
    with open_npz(path, wanted) as file:
        arrays = []
        for name in ("images", "labels"):
            own = name if name in file else name.removesuffix("s")
            if own not in file:
                raise SourceError(f"{path} has no array {name!r}; {wanted}")
            arrays.append(file[own])
        images, labels = arrays
        more = {name: file[name] for name in ("classes", "track") if name in file}
    try:
        _check_labels(path, labels)
        _check_pictures(path, "images", images, len(labels))
    except SourceError as error:
        raise SourceError(f"{error}; {wanted}") from error
    if "track" in more:
        more["track"] = more["track"][:limit]
    return _rgb(images[:limit]), labels[:limit], more


def check_classes(path: str | Path, data: LabelledSet, classes: int) -> None:
    """Refuses labels that a network of so many classes cannot predict.

    Raises:
        SourceError: there are some.
    """
    largest = int(data.labels.max())
    if largest >= classes:
        raise SourceError(
            f"{path} has the label {largest} and the network has {classes} classes (0 to "
            f"{classes - 1}); give the network that belongs to these pictures"
        )


def _from_npz(
    path: Path, only: Sequence[str] | None, severity: int
) -> tuple[dict[str, Pixels], npt.NDArray[Any], int]:
    with open_npz(path, _FORMS) as file:
        if "labels" not in file:
            raise SourceError(f"{path} has no array 'labels'; {_FORMS}")
        names = [name for name in file if name not in _NO_PICTURES]
        clean_only = len(names) == 1 and names[0] in ALONE
        chosen = _chosen([CLEAN] if clean_only else names, only, path)
        arrays = {name: file[names[0] if clean_only else name] for name in chosen}
        if "severities" in file:  # of each frame, in a drift
            severity = 0
        known = int(file["severity"]) if "severity" in file else severity
        return arrays, file["labels"], 0 if clean_only else known


def _from_npy(
    folder: Path, severity: int, only: Sequence[str] | None
) -> tuple[dict[str, Pixels], npt.NDArray[Any]]:
    """Five severities stacked, one fifth of the file each.

    Official sets repeat the labels for each severity; a single copy is understood too.
    """
    names = sorted(p.stem for p in folder.glob("*.npy") if p.stem != "labels")
    arrays: dict[str, Pixels] = {}
    labels = open_npy(folder / "labels.npy", _FORMS)
    own_labels = labels
    for name in _chosen(names, only, folder):
        stacked = open_npy(folder / f"{name}.npy", _FORMS)
        if stacked.ndim == 0 or len(stacked) % 5:
            raise SourceError(
                f"{folder}: {name} is {stacked.dtype} {stacked.shape}; expected five severities "
                "stacked, each with the same pictures"
            )
        n = len(stacked) // 5
        own = slice((severity - 1) * n, severity * n)
        if labels.ndim == 1 and len(labels) == len(stacked):
            own_labels = labels[own]
        _check_pictures(folder, name, stacked[own], len(own_labels) if labels.ndim else 0)
        arrays[name] = stacked[own]
    return arrays, own_labels


def _check_labels(path: Path, labels: npt.NDArray[Any]) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise SourceError(
            f"{path}: labels are {labels.dtype} {labels.shape}; expected a class number from 0 "
            "for each picture, integers (n,)"
        )
    if not len(labels):
        raise SourceError(f"{path} holds no picture; expected one at least")
    if labels.min() < 0:
        raise SourceError(f"{path} has the label {labels.min()}; expected class numbers from 0")


def _check_pictures(path: Path, name: str, array: npt.NDArray[Any], count: int) -> None:
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise SourceError(
            f"{path}: {name} is {array.dtype} {array.shape}; expected uint8 (n, H, W, 3), "
            "or (n, H, W, 1) gray"
        )
    if len(array) != count:
        raise SourceError(f"{path}: {name} has {len(array)} pictures and there are {count} labels")


def _from_folders(
    root: Path,
    severity: int,
    limit: int | None,
    only: Sequence[str] | None,
    size: Size,
    classes: Sequence[str] | None,
) -> tuple[dict[str, Pixels], npt.NDArray[Any], int]:
    """<corruption>/<severity>/, or in groups <group>/<corruption>/<severity>/; else clean."""
    known = _severity_folders(root)
    folders = {p.parent.name: p for p in known if p.name == str(severity)}
    if known and not folders:
        raise SourceError(
            f"{root} has no severity {severity}; it has "
            f"{', '.join(sorted({p.name for p in known}))}: choose one with --severity"
        )
    if not folders:
        folders, severity = {DRIFT if (root / DRIFT_TABLE).is_file() else CLEAN: root}, 0
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


def _severity_folders(root: Path) -> list[Path]:
    # Not both: below a severity there may be classes that are called by their numbers.
    return _folders(root, "*/[1-5]") or _folders(root, "*/*/[1-5]")


def _folders(root: Path, pattern: str) -> list[Path]:
    folders = (path for path in root.glob(pattern) if path.is_dir())
    return sorted(p for p in folders if CLEAN not in p.relative_to(root).parts)


def _chosen(names: Sequence[str], only: Sequence[str] | None, path: Path) -> list[str]:
    if only is None:
        return list(names)
    for name in only:
        if name not in names:
            hint = did_you_mean(name, names)
            raise SourceError(f"{path} has no {name}; it has {', '.join(names)}{hint}")
    return list(only)


def _rgb(pictures: Pixels) -> Pixels:
    """Return pictures (n, H, W, 3); gray ones (n, H, W, 1) have equal channels."""
    return pictures if pictures.shape[-1] == 3 else np.repeat(pictures, 3, -1)


def _sized(array: Pixels, size: Size) -> Pixels:
    if array.shape[1:3] == sides_of(size):
        return np.ascontiguousarray(array)
    return np.stack([resize(frame, size) for frame in array])
