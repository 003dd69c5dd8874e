"""Source frames: unlabelled, of good conditions; BatchNorms get their statistics from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from edge_tta.demo.source import DEMO
from edge_tta.errors import ConfigError, SourceError
from edge_tta.frames import open_source
from edge_tta.inputs import input_of
from edge_tta.models.naming import Model
from edge_tta.network.capture import outputs_of
from edge_tta.network.onnx_file import OnnxNetwork
from edge_tta.network.onnx_file.restoring import check_statistics, restore
from edge_tta.network.source import SourceNetwork
from edge_tta.network.source_statistics import USUAL, measure
from edge_tta.prepare import Images, InputSpec
from edge_tta.probability import as_array, entropy, softmax
from edge_tta.temporal.accuracy import threshold

_TOLD_EVERY = 50
_FEW = 0.25
_SOME = 64
"""Frames at most of `few_images`."""


def with_source_frames(
    model: Model,
    frames: str | None,
    most: int | None,
    tell: Callable[[str], None],
    accuracy: float | None = None,
) -> tuple[Model, str]:
    """Return a model with statistics of source frames, and what was done in one line; "": nothing.

    Where an ONNX file has BatchNorms folded away, they are restored.

    Args:
        frames: a folder, video, picture, camera or .npz; None: none was given.
        most: frames that are taken; None: `USUAL`.
        tell: is told of the progress.
        accuracy: of a classifier on the frames, 0..1, by which `sure_above` is known; None: as
            their labels say, where all have one.

    Raises:
        ConfigError: an accuracy of what is no classifier.
        ModelError: the file has its BatchNorms folded and there are no frames, or too few.
        SourceError: the frames cannot be read.
    """
    network = model.module
    if frames is None:
        told = ""
        if isinstance(network, OnnxNetwork):
            told = check_statistics(network, model.name, "--source-frames FOLDER|VIDEO|NPZ")
        return model, told
    filtered = model.task is not None and model.task.filtered
    if accuracy is not None and not filtered:
        raise ConfigError("--source-accuracy is of a classifier; leave it out")
    wanted = USUAL if most is None else most
    tell(f"reading {frames}")
    seen, labels = _Seen(), list[int | None]()

    def images() -> Iterator[torch.Tensor]:
        for image, label in labelled_images_of(frames, model.input, wanted, model.labels):
            labels.append(label)
            yield torch.from_numpy(image)

    def watch(outputs: Any) -> None:
        seen.add(outputs, labels[seen.frames])
        if seen.frames % _TOLD_EVERY == 0:
            tell(f"{seen.frames} seen, of {wanted} at most")

    if isinstance(network, OnnxNetwork):
        done = restore(network, images(), watch, model.task)
    else:
        network = SourceNetwork(network, torch.device("cpu")).copy()
        outputs_of(network, model.input.shape)  # refuses images that the network does not take
        done = measure(network, images(), watch, model.task)
    advice = seen.advice() if filtered else ""
    if filtered and accuracy is None and (accuracy := seen.accuracy) is not None:
        advice = f"; {accuracy:.1%} of them are right by their labels{advice}"
    sure_above = None if accuracy is None else threshold(seen.largest, accuracy)
    made = dataclasses.replace(model, module=network, sure_above=sure_above)
    return made, f"{model.name}: {done.told}{advice}"


class _Seen:
    """Source frames by the answers of a classifier: which classes, and how sure it is of them.

    largest: the largest probability of each frame.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.largest: list[float] = []
        self._counts = np.zeros(0)
        self._labelled = self._right = 0

    def add(self, outputs: Any, label: int | None) -> None:
        """Add the outputs of a frame; those that are no logits (1, K) count as a frame alone."""
        self.frames += 1
        if isinstance(outputs, torch.Tensor) and outputs.ndim == 2:
            if not len(self._counts):
                self._counts = np.zeros(outputs.shape[1])
            said = int(outputs[0].argmax())
            self._counts[said] += 1
            self._labelled += label is not None and 0 <= label < len(self._counts)
            self._right += said == label
            self.largest.append(float(softmax(as_array(outputs))[0].max()))

    @property
    def accuracy(self) -> float | None:
        """Share of the frames that are right; None: not all have a label."""
        return self._right / self.frames if 0 < self.frames == self._labelled else None

    def advice(self) -> str:
        """Return what to tell where the frames show few of the classes; "": nothing.

        Few: the exponential of the entropy of the classes that the network names is below a
        quarter of those that so many frames can show.
        """
        if not self._counts.sum():
            return ""
        shown = math.exp(entropy(self._counts / self._counts.sum()))
        if shown >= _FEW * min(len(self._counts), self.frames):
            return ""
        return (
            f"; they show about {shown:.0f} of its {len(self._counts)} classes: statistics of few "
            "classes do harm where others come; give frames of all that it will see"
        )


def labelled_images_of(
    frames: str, spec: InputSpec, most: int, classes: Sequence[str] | None = None
) -> Iterator[tuple[Images, int | None]]:
    """Yield the first frames of a source as images (1, channels, H, W), with their classes.

    classes: names, by which labels of a folder are known.

    Raises:
        SourceError: it cannot be opened, or holds no frames.
    """
    with open_source(frames, max_frames=most, classes=classes, more=DEMO) as opened:
        while (frame := opened.read()) is not None:
            yield input_of(frame, spec), frame.label


def few_images(frames: str | None, spec: InputSpec) -> list[Images] | None:
    """Return some of the first frames of a source as images (1, channels, H, W), at least one.

    None of None: no source was given.

    Raises:
        SourceError: it cannot be opened, or holds no frames.
    """
    if frames is None:
        return None
    images = [image for image, _ in labelled_images_of(frames, spec, _SOME)]
    if not images:
        raise SourceError(f"{frames} holds no frames; give a folder, video or .npz that does")
    return images
