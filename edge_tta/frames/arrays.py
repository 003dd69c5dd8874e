"""Arrays: the pictures of an .npz, or inputs that are no pictures, of an .npz or of .npy files.

The files are those of a folder that holds no others, or those that a pattern names.

An input (channels, H, W), or (H, W) of one channel, real numbers, goes to the network as it is: as
float32, not resized, not normalised. What is shown is its first channel, from its least value
(black) to its largest (white), the first row at the bottom, as of spectrograms.

An .npz holds `inputs` (n, channels, H, W) or (n, H, W), or pictures, of which the first such array
is taken; perhaps `labels` (n,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.array_files import open_npz
from edge_tta.errors import SourceError, one_line
from edge_tta.frames.source import Frame, FrameSource, Pick, Pixels
from edge_tta.small_files import check_ordinary

Array = npt.NDArray[Any]

SUFFIX, PACKED = ".npy", ".npz"
INPUTS = "inputs"
"""Name of the array in an .npz of inputs that are no pictures."""

LABELS = "labels"

_NAMED = 3
"""Arrays at most that a message names."""

_FORMS = (
    "expected an .npz with inputs (n, channels, H, W), or with one uint8 array (n, H, W, 3) of RGB "
    "pictures, and perhaps labels (n,)"
)


class ArraySource(FrameSource):
    """Arrays as frames.

    Args:
        names: of the arrays, which `load` reads.
        labels: of each; None: unknown.
        pictures: they are; else inputs that are none.
    """

    def __init__(
        self, name: str, names: list[str], load: Callable[[int], Array], labels: Array | None,
        pick: Pick, *, pictures: bool = False,
    ) -> None:  # fmt: skip
        chosen = range(0, len(names), pick.stride)[: pick.max_frames]
        super().__init__(name, length=len(chosen))
        self._names, self._load, self._labels, self._pictures = names, load, labels, pictures
        self._left, self._given, self._step = list(chosen)[::-1], 0, 1 / (pick.fps or 1)

    def read(self) -> Frame | None:
        while self._left:
            index = self._left.pop()
            array = self._load(index)
            if not np.isfinite(array).all():
                self.dropped["not finite"] += 1
                continue
            label = None if self._labels is None else int(self._labels[index])
            self._given += 1
            return Frame(
                index=self._given - 1,
                pixels=array if self._pictures else _shown(array),
                time_s=index * self._step,
                name=self._names[index],
                label=label,
                array=None if self._pictures else array,
            )
        return None


def open_arrays(path: Path, pick: Pick) -> ArraySource:
    """Open an .npz, an .npy, or a folder of .npy files, in the order of their names.

    Raises:
        SourceError: nothing readable there, or arrays that are no pictures and no inputs.
    """
    if path.suffix.lower() == PACKED:
        return _open_packed(path, pick)
    files = list(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    return open_array_files(path.name, files, pick)


def _open_packed(path: Path, pick: Pick) -> ArraySource:
    with open_npz(path, _FORMS) as file:
        labels = file.get(LABELS)
        arrays = file[INPUTS] if INPUTS in file else _pictures_in(file)
        pictures = INPUTS not in file
        if arrays is None or not arrays.ndim:
            held = [f"{name} {file[name].dtype} {file[name].shape}" for name in [*file][:_NAMED]]
            listed = f" but {', '.join(held)}" if held else ""
            raise SourceError(f"{path} holds no pictures and no inputs{listed}; {_FORMS}")
    if labels is not None and (labels.shape != arrays.shape[:1] or labels.dtype.kind not in "iu"):
        if not pictures:
            raise SourceError(f"{path}: labels must be whole numbers, one for each of the inputs")
        labels = None  # of something else, such as boxes
    names = [f"{path.name}#{i}" for i in range(len(arrays))]

    def load(index: int) -> Array:
        return arrays[index] if pictures else _checked(arrays[index], names[index])

    return ArraySource(path.name, names, load, labels, pick, pictures=pictures)


def _pictures_in(file: Mapping[str, Array]) -> Array | None:
    for name in file:
        array = file[name]
        if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3 and array.size:
            return array
    return None


def open_array_files(name: str, paths: Iterable[Path], pick: Pick) -> ArraySource:
    """Open .npy files, in the order of their names. Raises SourceError as `open_arrays`."""
    files = sorted(paths)
    return ArraySource(name, [file.name for file in files], lambda i: _read(files[i]), None, pick)


def holds_arrays(path: Path) -> bool:
    """Tell whether a path is a file of arrays, or a folder with such and no other files."""
    if not path.is_dir():
        return path.suffix.lower() in (SUFFIX, PACKED)
    suffixes = {entry.suffix for entry in path.iterdir() if entry.is_file()}
    return suffixes == {SUFFIX}


def _read(path: Path) -> Array:
    check_ordinary(path)
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # damaged files raise many kinds
        raise SourceError(f"{path} cannot be read as an array ({one_line(error, 120)})") from error
    return _checked(array, str(path))


def _checked(array: Array, name: str) -> Array:
    """Return an array (channels, H, W) float32."""
    if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "fiu":
        raise SourceError(
            f"{name} is {array.dtype} {array.shape}; expected real numbers (channels, H, W), or "
            "(H, W) of one channel"
        )
    return array.astype(np.float32).reshape(-1, *array.shape[-2:])


def _shown(array: Array) -> Pixels:
    """Return a picture (H, W, 3) of the first channel."""
    plane = array[0, ::-1]
    low, high = float(plane.min()), float(plane.max())
    gray = np.rint((plane - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return np.repeat(gray[..., None], 3, 2)
