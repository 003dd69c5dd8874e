"""Sets of inputs that are no pictures: they go to the network as they are, as in `edge-tta run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.errors import SourceError
from edge_tta.frames.arrays import INPUTS
from edge_tta.prepare import Images, InputSpec

Array = npt.NDArray[Any]

ALONE = ("images", INPUTS)
"""Names of an .npz's only array, of pictures or inputs, that say nothing of a corruption."""


def are_inputs(array: Array) -> bool:
    """Tell whether an array is of inputs: pictures are uint8."""
    return array.dtype.kind == "f"


def checked_inputs(
    path: Path, name: str, array: Array, count: int, shape: tuple[int, ...]
) -> Images:
    """Return inputs (n, channels, H, W) float32; of one channel (n, H, W) will do.

    shape: (channels, H, W) that the network takes. count: of labels.

    Raises:
        SourceError: another shape or number, or values that are not finite.
    """
    inputs = array.astype(np.float32)
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    if inputs.shape != (count, *shape):
        raise SourceError(
            f"{path}: {name} is {array.dtype} {array.shape}; expected uint8 pictures (n, H, W, 3), "
            f"or inputs as the network takes them, {(count, *shape)}, one for each label: give "
            "--size HxW and --channels, or arrays of that shape"
        )
    finite = np.isfinite(inputs.reshape(count, -1)).all(1)
    if not finite.all():
        raise SourceError(
            f"{path}: {name} has NaN or infinity in number {int(finite.argmin())}; leave it out"
        )
    return inputs


def images_of(frames: Array, spec: InputSpec) -> Images:
    """Return pictures (n, H, W, 3) normalised, or inputs as they are, (n, channels, H, W)."""
    return frames if are_inputs(frames) else spec.normalise(frames)
