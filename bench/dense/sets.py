"""Labelled pictures of segmentation and detection, in their order.

An .npz: pictures as `images` (n, H, W, 3) uint8 RGB, or files in one array of bytes, `jpeg`, with
`jpeg_off` (n + 1); masks as `masks` (n, H, W), or `label_png` with `label_off`; boxes as `box`
(m, 4) x1 y1 x2 y2 in 0..1, `label` (m,) and `box_off` (n + 1), perhaps `crowd` (m,) bool and
`targets_only`. A folder: pictures, and beside them `labels/NAME.png`, or `labels/NAME.txt` with a
line for each box: class cx cy w h, in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.dense.metrics import Mask, Truth
from edge_tta.array_files import open_npz
from edge_tta.errors import SourceError
from edge_tta.frames import open_source
from edge_tta.frames.source import Frame
from edge_tta.prepare import Pixels

Array = npt.NDArray[Any]

_FORMS = (
    "expected an .npz with pictures (images, or jpeg and jpeg_off) and masks (masks, or label_png "
    "and label_off) or boxes (box, label, box_off), or a folder of pictures with labels/NAME.png "
    "or labels/NAME.txt"
)


@dataclass(frozen=True)
class DenseSet:
    """Labelled pictures.

    Attributes:
        name: for reports.
        pictures: gives each picture (H, W, 3) uint8 RGB, in turn, anew at each call.
        truths: a mask or boxes for each.
        targets_only: the boxes are of some objects only.
    """

    name: str
    pictures: Callable[[], Iterator[Pixels]]
    truths: Sequence[Mask] | Sequence[Truth]
    targets_only: bool = False

    def __len__(self) -> int:
        return len(self.truths)


def load_dense_set(
    path: str | Path, task: str, limit: int | None = None, stride: int = 1
) -> DenseSet:
    """Reads a set.

    Args:
        task: `segment` or `detect`.
        limit: the first so many pictures, of those that stride leaves.

    Raises:
        SourceError: nothing readable there, or no labels for the task.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _from_npz(path, task, limit, stride)
    if path.is_dir():
        return _from_folder(path, task, limit, stride)
    raise SourceError(f"no set at {path}; {_FORMS}")


def _from_npz(path: Path, task: str, limit: int | None, stride: int) -> DenseSet:
    with open_npz(path, _FORMS) as file:
        arrays = {name: file[name] for name in file}
    try:
        chosen = range(len(_ends(arrays, "jpeg", "images")))[::stride][:limit]
        picture = _reader(arrays, "jpeg", "images", cv2.IMREAD_COLOR_RGB)
        if task == "segment":
            mask = _reader(arrays, "label", "masks", cv2.IMREAD_GRAYSCALE)
            truths: Any = [mask(i) for i in chosen]
        else:
            truths = [_boxes(arrays, i) for i in chosen]
    except (KeyError, IndexError, ValueError) as error:
        raise SourceError(f"{path} lacks {error}; {_FORMS}") from error
    targets = bool(arrays.get("targets_only", False))
    return DenseSet(path.stem, lambda: map(picture, chosen), truths, targets)


def _ends(arrays: Mapping[str, Array], packed: str, plain: str) -> Array:
    """Return an array as long as there are pictures."""
    return arrays[plain] if plain in arrays else arrays[f"{packed}_off"][1:]


def _reader(
    arrays: Mapping[str, Array], packed: str, plain: str, flag: int
) -> Callable[[int], Array]:
    """Return what gives picture i of an array of pictures, or of one of their files' bytes."""
    if plain in arrays:
        whole = arrays[plain]
        return lambda i: np.asarray(whole[i], np.uint8)
    data, ends = arrays["label_png" if packed == "label" else packed], arrays[f"{packed}_off"]

    def read(i: int) -> Array:
        pixels = cv2.imdecode(data[ends[i] : ends[i + 1]], flag)
        if pixels is None:
            raise ValueError(f"picture {i}, which cannot be decoded")
        return np.asarray(pixels, np.uint8)

    return read


def _boxes(arrays: Mapping[str, Array], i: int) -> Truth:
    part = slice(arrays["box_off"][i], arrays["box_off"][i + 1])
    classes = arrays["label"][part].astype(np.int64)
    crowd = arrays["crowd"][part] if "crowd" in arrays else np.zeros(len(classes))
    corners = arrays["box"][part].astype(np.float64).reshape(-1, 4)
    return Truth(corners, classes, crowd.astype(bool))


def _from_folder(path: Path, task: str, limit: int | None, stride: int) -> DenseSet:
    def frames() -> Iterator[Frame]:
        with open_source(str(path)) as source:
            own = (frame for frame in source if not frame.name.startswith("labels/"))
            yield from islice(own, 0, None if limit is None else limit * stride, stride)

    ending = ".png" if task == "segment" else ".txt"
    read: Any = _mask_file if task == "segment" else _box_file
    names = [Path(frame.name).with_suffix(ending) for frame in frames()]
    truths = [read(path / "labels" / name) for name in names]
    if not truths:
        raise SourceError(f"{path} holds no pictures; {_FORMS}")
    return DenseSet(path.name, lambda: (frame.pixels for frame in frames()), truths)


def _mask_file(path: Path) -> Mask:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if mask is None:
        raise SourceError(f"there is no mask {path}; {_FORMS}")
    return np.asarray(mask, np.uint8)


def _box_file(path: Path) -> Truth:
    try:
        rows = np.array([line.split() for line in path.read_text().splitlines()], float)
        rows = rows.reshape(-1, 5)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as boxes ({error}); {_FORMS}") from error
    middle, half = rows[:, 1:3], rows[:, 3:5] / 2
    corners = np.concatenate([middle - half, middle + half], 1)
    return Truth(corners, rows[:, 0].astype(np.int64), np.zeros(len(rows), bool))
