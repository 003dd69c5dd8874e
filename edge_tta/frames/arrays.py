"""Inputs that are no pictures: .npy files, or the arrays of an .npz, each a network's input.

The files are those of a folder that holds no others, or those that a pattern names.

An array (channels, H, W), or (H, W) of one channel, real numbers, goes to the network as it is: as
float32, not resized, not normalised. What is shown is its first channel, from its least value
(black) to its largest (white), the first row at the bottom, as of spectrograms.

An .npz holds `inputs` (n, channels, H, W) or (n, H, W), perhaps `labels` (n,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.errors import SourceError, one_line
from edge_tta.frames.source import Frame, FrameSource, Pick, Pixels
from edge_tta.small_files import check_ordinary

Array = npt.NDArray[Any]

SUFFIX, PACKED = ".npy", ".npz"
INPUTS = "inputs"
"""Name of the array in an .npz of inputs that are no pictures."""

LABELS = "labels"


class ArraySource(FrameSource):
    """Arrays as frames.

    Args:
        names: of the arrays, which `load` reads.
        labels: of each; None: unknown.
    """

    def __init__(
        self, name: str, names: list[str], load: Callable[[int], Array], labels: Array | None,
        pick: Pick,
    ) -> None:  # fmt: skip
        chosen = range(0, len(names), pick.stride)[: pick.max_frames]
        super().__init__(name, length=len(chosen))
        self._names, self._load, self._labels = names, load, labels
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
                pixels=_shown(array),
                time_s=index * self._step,
                name=self._names[index],
                label=label,
                array=array,
            )
        return None


def open_arrays(path: Path, pick: Pick) -> ArraySource:
    """Open an .npz, an .npy, or a folder of .npy files, in the order of their names.

    Raises:
        SourceError: nothing readable there, or arrays that are no network's input.
    """
    if path.suffix == PACKED:
        check_ordinary(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                inputs = np.asarray(file[INPUTS])
                labels = np.asarray(file[LABELS]) if LABELS in file else None
        except Exception as error:  # damaged zips raise many kinds
            raise SourceError(
                f"{path} cannot be read ({one_line(error, 120)}); expected an .npz with inputs "
                "(n, channels, H, W) and perhaps labels (n,)"
            ) from error
        if labels is not None and (
            labels.shape != inputs.shape[:1] or labels.dtype.kind not in "iu"
        ):
            raise SourceError(f"{path}: labels must be whole numbers, one for each of the inputs")
        names = [f"{path.name}#{i}" for i in range(len(inputs))]
        return ArraySource(path.name, names, lambda i: _checked(inputs[i], names[i]), labels, pick)
    files = list(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    return open_array_files(path.name, files, pick)


def open_array_files(name: str, paths: Iterable[Path], pick: Pick) -> ArraySource:
    """Open .npy files, in the order of their names. Raises SourceError as `open_arrays`."""
    files = sorted(paths)
    return ArraySource(name, [file.name for file in files], lambda i: _read(files[i]), None, pick)


def holds_arrays(path: Path) -> bool:
    """Tell whether a path is a file of arrays, or a folder with such and no other files."""
    if not path.is_dir():
        return path.suffix in (SUFFIX, PACKED)
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
