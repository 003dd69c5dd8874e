"""Labelled pictures of segmentation and detection, in their order.

An .npz: pictures as `images` (n, H, W, 3) uint8 RGB, or files in one array of bytes, `jpeg`, with
`jpeg_off` (n + 1); masks as `masks` (n, H, W), or `label_png` with `label_off`; boxes as `box`
(m, 4) x1 y1 x2 y2 in 0..1, `label` (m,) and `box_off` (n + 1), perhaps `crowd` (m,) bool and
`targets_only`. A folder: pictures, and beside them `labels/NAME.png`, gray or with a palette;
`labels/NAME.txt` with a line for each box, class cx cy w h in 0..1, none where there is no object;
or `annotations.json` in COCO's form.
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

from bench.dense.label_files import ANNOTATIONS, mask_of, read_coco, read_yolo
from bench.dense.metrics import Mask, Truth
from edge_tta.array_files import open_npz
from edge_tta.errors import ConfigError, SourceError
from edge_tta.frames import open_source
from edge_tta.frames.source import Frame
from edge_tta.prepare import Pixels
from edge_tta.tasks import Classes

Array = npt.NDArray[Any]

_FORMS = (
    "expected an .npz with pictures (images, or jpeg and jpeg_off) and masks (masks, or label_png "
    "and label_off) or boxes (box, label, box_off), or a folder of pictures with labels/NAME.png, "
    "labels/NAME.txt or annotations.json"
)

_LEAST, _MOST = -0.5, 1.5
"""Of corners: boxes may stand out of their picture, those in pixels are elsewhere."""


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
    path: str | Path,
    task: str,
    classes: Classes,
    *,
    ignored: Sequence[int] = (),
    limit: int | None = None,
    stride: int = 1,
) -> DenseSet:
    """Reads a set.

    Args:
        task: `segment` or `detect`.
        classes: of the network; a detector whose classes have no names may have any number.
        ignored: numbers in masks that are no label.
        limit: the first so many pictures, of those that stride leaves.

    Raises:
        SourceError: nothing readable there, no labels for the task, or labels of other classes.
        ConfigError: every class is ignored.
    """
    path = Path(path)
    if path.suffix == ".npz":
        data, names = _from_npz(path, task, limit, stride)
    elif path.is_dir():
        data, names = _from_folder(path, task, classes, limit, stride)
    else:
        raise SourceError(f"no set at {path}; {_FORMS}")
    if task == "segment":
        found = _check_masks(names, data.truths, classes.count, frozenset(ignored))
    else:
        found = _check_boxes(names, data.truths, len(classes.names or ()))
    if not found:
        raise SourceError(f"{path} has no label that counts in {len(data)} pictures; {_FORMS}")
    return data


def _check_masks(
    names: Sequence[str], masks: Sequence[Any], classes: int, ignored: frozenset[int]
) -> bool:
    """Return whether anything is labelled."""
    if ignored.issuperset(range(classes)):
        raise ConfigError(f"--ignore leaves none of the network's {classes} classes; name fewer")
    counted = False
    for name, mask in zip(names, masks, strict=True):
        own = set(np.flatnonzero(np.bincount(mask.ravel())).tolist()) - ignored
        if own and max(own) >= classes:
            advice = f", or --ignore {max(own)} where it is no label"
            raise SourceError(_foreign(name, max(own), classes) + advice)
        counted |= bool(own)
    return counted


def _check_boxes(names: Sequence[str], truths: Sequence[Any], classes: int) -> bool:
    """Return whether anything is labelled. classes: 0: nobody knows how many there are."""
    for name, (corners, numbers, _) in zip(names, truths, strict=True):
        wrong = numbers[(numbers < 0) | ((numbers >= classes) & (classes > 0))]
        if len(wrong):
            raise SourceError(_foreign(name, wrong[0], classes))
        if not ((corners >= _LEAST) & (corners <= _MOST)).all():
            raise SourceError(f"{name} has a box that is not in 0..1 of its picture; {_FORMS}")
    return any((~truth.crowd).any() for truth in truths)


def _foreign(name: str, label: int, classes: int) -> str:
    return (
        f"{name} has the label {label} and the network has {classes or 'other'} classes (from 0); "
        "give the network that belongs to these labels"
    )


def _from_npz(
    path: Path, task: str, limit: int | None, stride: int
) -> tuple[DenseSet, Sequence[str]]:
    """Return a set, and names of its labels."""
    with open_npz(path, _FORMS) as file:
        arrays = {name: file[name] for name in file}
    try:
        chosen = range(len(_ends(arrays, "jpeg", "images")))[::stride][:limit]
        names = [f"{path}, picture {i}" for i in chosen]
        picture = _reader(arrays, "images", "jpeg", "jpeg", _decoded)
        if task == "segment":
            mask = _reader(arrays, "masks", "label_png", "label", mask_of)
            truths: Any = [mask(i) for i in chosen]
        else:
            truths = [_boxes(arrays, i) for i in chosen]
    except (KeyError, IndexError, ValueError) as error:
        raise SourceError(f"{path} lacks {error}; {_FORMS}") from error
    targets = bool(arrays.get("targets_only", False))
    return DenseSet(path.stem, lambda: map(picture, chosen), truths, targets), names


def _ends(arrays: Mapping[str, Array], packed: str, plain: str) -> Array:
    """Return an array as long as there are pictures."""
    return arrays[plain] if plain in arrays else arrays[f"{packed}_off"][1:]


def _reader(
    arrays: Mapping[str, Array],
    plain: str,
    packed: str,
    offsets: str,
    decode: Callable[[bytes, str], Array],
) -> Callable[[int], Array]:
    """Return what gives picture i of an array of pictures, or of one of their files' bytes."""
    if plain in arrays:
        whole = arrays[plain]
        return lambda i: np.asarray(whole[i], np.uint8)
    data, ends = arrays[packed], arrays[f"{offsets}_off"]
    return lambda i: decode(data[ends[i] : ends[i + 1]].tobytes(), f"{packed} {i}")


def _decoded(data: bytes, name: str) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise SourceError(f"{name} cannot be decoded as a picture; make the file anew")
    return np.asarray(pixels, np.uint8)


def _boxes(arrays: Mapping[str, Array], i: int) -> Truth:
    part = slice(arrays["box_off"][i], arrays["box_off"][i + 1])
    crowd = arrays["crowd"][part] if "crowd" in arrays else False
    return Truth.of(arrays["box"][part], arrays["label"][part], crowd)


def _from_folder(
    path: Path, task: str, classes: Classes, limit: int | None, stride: int
) -> tuple[DenseSet, Sequence[str]]:
    """Return a set, and names of its labels."""

    def frames() -> Iterator[Frame]:
        with open_source(str(path)) as source:
            own = (frame for frame in source if not frame.name.startswith("labels/"))
            yield from islice(own, 0, None if limit is None else limit * stride, stride)

    pictures = [frame.name for frame in frames()]
    if not pictures:
        raise SourceError(f"{path} holds no pictures; {_FORMS}")
    ending = ".png" if task == "segment" else ".txt"
    files = [path / "labels" / Path(name).with_suffix(ending) for name in pictures]
    names = [str(file) for file in files]
    if task == "segment":
        truths: Any = [_mask_file(file) for file in files]
    elif (path / ANNOTATIONS).is_file():
        truths = _annotated(path / ANNOTATIONS, pictures, classes.names)
        names = [f"{path / ANNOTATIONS}, {name}" for name in pictures]
    elif any(file.exists() for file in files):
        truths = [read_yolo(file) for file in files]
    else:
        raise SourceError(f"there is no file of boxes {files[0]}, nor any other; {_FORMS}")
    return DenseSet(path.name, lambda: (frame.pixels for frame in frames()), truths), names


def _mask_file(path: Path) -> Mask:
    if not path.is_file():
        raise SourceError(f"there is no mask {path}; {_FORMS}")
    return mask_of(path.read_bytes(), str(path))


def _annotated(path: Path, pictures: Sequence[str], names: Sequence[str] | None) -> list[Truth]:
    """Return the boxes of pictures from COCO's file, which may be of many more."""
    known = read_coco(path, names)
    for name in pictures:
        if name not in known:
            raise SourceError(f"{path} lists no picture {name}; add it, or take the picture out")
    return [known[name] for name in pictures]
