"""Source frames: unlabelled, of good conditions; they give a folded network its statistics."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from edge_tta.array_files import open_npz
from edge_tta.demo.source import DEMO
from edge_tta.errors import ConfigError, SourceError
from edge_tta.frames import open_source
from edge_tta.models.naming import Model
from edge_tta.network.onnx_file import OnnxNetwork
from edge_tta.network.onnx_file.restoring import (
    USUAL,
    check_statistics,
    has_batch_norm,
    restore,
    sites_of,
)
from edge_tta.prepare import Images, InputSpec, Pixels

_TOLD_EVERY = 50
_NPZ = "expected an .npz with one uint8 array (n, H, W, 3) of RGB pictures"


def restored(
    model: Model, frames: str | None, most: int | None, tell: Callable[[str], None]
) -> tuple[Model, str]:
    """Return a model with its BatchNorms restored, and what was done, in one line; "": nothing.

    Args:
        frames: a folder, video, picture, camera or .npz; None: none was given.
        most: frames that are taken; None: `USUAL`.
        tell: is told of the progress.

    Raises:
        ModelError: the file has its BatchNorms folded and there are no frames, or too few.
        SourceError: the frames cannot be read.
        ConfigError: frames for a model that has its statistics.
    """
    network = model.module
    if not isinstance(network, OnnxNetwork):
        if frames is not None:
            raise ConfigError(
                f"--source-frames are for ONNX files, and {model.name} has its statistics; leave "
                "them out"
            )
        return model, ""
    if frames is None:
        return model, check_statistics(network, model.name, "--source-frames FOLDER|VIDEO|NPZ")
    if not sites_of(network) and has_batch_norm(network):
        return model, f"{model.name}: every BatchNorm is in the file; no source frames are read"
    wanted = USUAL if most is None else most
    tell(f"reading {frames}")
    images = (torch.from_numpy(i) for i in images_of(frames, model.input, wanted))

    def count(seen: int) -> None:
        if seen % _TOLD_EVERY == 0:
            tell(f"{seen} seen, of {wanted} at most")

    done = restore(network, images, count)
    told = (
        f"{model.name}: {done.layers} BatchNorms restored from {done.frames} source frames; "
        f"outputs as before to {done.difference:.0e} (relative); a channel's mean is known to "
        f"{done.uncertainty:.2f} of its standard deviation"
    )
    if done.frames < USUAL // 5:
        told += f"; {USUAL} frames would tell it better"
    return dataclasses.replace(model, module=network), told


def images_of(frames: str, spec: InputSpec, most: int) -> Iterator[Images]:
    """Yield the first frames of a source as images (1, channels, H, W).

    Raises:
        SourceError: it cannot be opened, or holds no frames.
    """
    pictures = _of_npz(Path(frames)) if frames.endswith(".npz") else _of_source(frames, most)
    for picture in itertools.islice(pictures, most):
        yield spec.prepare(picture)


def _of_source(frames: str, most: int) -> Iterator[Pixels]:
    with open_source(frames, max_frames=most, more=DEMO) as opened:
        while (frame := opened.read()) is not None:
            yield frame.pixels


def _of_npz(path: Path) -> Iterator[Pixels]:
    with open_npz(path, _NPZ) as arrays:
        for name in arrays:
            array = arrays[name]
            if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3:
                yield from array
                return
    raise SourceError(f"{path} holds no pictures; {_NPZ}")
