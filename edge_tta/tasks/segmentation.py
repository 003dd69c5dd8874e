"""Segmentation: logits (N, K, H, W) of K classes at each position.

Of several outputs the one called `out` is taken, or the first with four axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.frames.source import Pixels
from edge_tta.nest import leaves
from edge_tta.prepare import Fit
from edge_tta.probability import as_array, entropy, information, softmax
from edge_tta.show.colours import Colour, colour_of
from edge_tta.tasks.base import FRAMEWISE, Classes, Compared, Reading

Mask = npt.NDArray[np.uint8]

MOST_CLASSES = 256
_LIKELIEST = 6
_COARSEST = 8
"""Largest usual stride of a segmenter's output."""
_OPACITY = 0.5
_ENTROPY_STRIDE = 4
"""Entropies are of every so many rows and columns."""


@dataclass(frozen=True)
class MaskReading(Reading):
    """A class for each position.

    Attributes:
        mask: class numbers (H, W) uint8, as large as the output.
        classes: what they stand for.
        shares: of the mask, by class number, those that are there.
    """

    mask: Mask
    classes: Classes
    shares: Mapping[int, float]

    pictured: ClassVar[bool] = True

    def record(self, height: int, width: int) -> dict[str, Any]:
        """Return the class shares and the entropy."""
        shares = {self.classes.name(k): share for k, share in self.shares.items()}
        return {"classes": shares, "entropy": self.entropy}

    def compared(self, height: int, width: int) -> dict[str, Any]:
        """Return the same of a method compared with."""
        return self.record(height, width)

    def painted(self, pixels: Pixels, source: Reading | None) -> Pixels:
        """Return the mask blended over a frame, the source's on the right where it is given."""
        if not isinstance(source, MaskReading):
            return self.blended(pixels)
        return np.concatenate([self.blended(pixels), source.blended(pixels)], 1)

    @property
    def legend(self) -> tuple[tuple[str, Colour], ...]:
        """Names and colours of the classes that are there, the largest first."""
        return tuple((self.classes.name(k), colour_of(k)) for k in self.shares)

    def blended(self, pixels: Pixels) -> Pixels:
        """Return the mask blended over a frame (H, W, 3) RGB."""
        palette = np.array([colour_of(k) for k in range(int(self.mask.max()) + 1)], np.uint8)
        height, width = pixels.shape[:2]
        mask = cv2.resize(self.mask, (width, height), interpolation=cv2.INTER_NEAREST)
        return np.asarray(
            cv2.addWeighted(pixels, 1 - _OPACITY, palette[mask], _OPACITY, 0), np.uint8
        )


class Segmentation:
    """The task of segmenters."""

    name, learns, filtered, fit = "segment", True, False, Fit.STRETCH
    host = "norm"  # Tent per position costs five times as much and was measured to gain nothing
    margin, parts = 0.04, "positions"
    # A street is in every frame, so that a frame's own statistics say much.
    preset: Mapping[str, Any] = {
        **FRAMEWISE,
        **{"prior_frames": 0.1, "alpha": 0.5, "strength": 1.0},
    }

    def takes(self, outputs: Any, image_shape: Sequence[int]) -> str:
        """Return "" where there is an output (N, K, H, W) in the proportions of the image."""
        main = _main(outputs)
        if main is None:
            return "expected logits (N, classes, H, W)"
        _, classes, height, width = main.shape
        if not 2 <= classes <= MOST_CLASSES:
            return f"expected logits (N, classes, H, W) of 2 to {MOST_CLASSES} classes"
        ratio, wanted = height / width, image_shape[1] / image_shape[2]
        if min(height, width) < 2 or not 0.9 < ratio / wanted < 1.1:
            return "expected logits (N, classes, H, W) in the proportions of the image"
        return ""

    def like_a_detector(self, outputs: Any, image_shape: Sequence[int]) -> bool:
        """Tell whether maps that it takes are rather a detector's: coarse ones, or several sizes.

        A segmenter that is like that is found by its name alone.
        """
        named = isinstance(outputs, Mapping) and "out" in outputs
        maps = [_main(outputs)] if named else leaves(outputs)
        sizes = {tuple(one.shape[2:]) for one in maps if len(one.shape) == 4}
        return len(sizes) > 1 or image_shape[1] > _COARSEST * min(height for height, _ in sizes)

    def votes(self, outputs: Any) -> Any:
        """Return the logits at each position."""
        main = _main(outputs)
        n, classes = main.shape[:2]
        return main.reshape(n, classes, -1).swapaxes(1, 2).reshape(-1, classes)

    def mask(self, outputs: Any, among: npt.NDArray[np.uint8] | None = None) -> Mask:
        """Return the class (H, W) of each position, or its place among some."""
        logits = as_array(_main(outputs))[0]
        chosen = logits if among is None else logits[among]
        return np.asarray(chosen.argmax(0), np.uint8)

    def compare(self, adapted: Any, source: Any) -> Compared:
        """Return the gain of a mask and the share of positions with another class.

        The gain is by how much more positions and classes tell of each other (mutual information,
        H(mean p) - mean H(p)), less what the adapted network doubts more than the source, mean
        H(p); as a part of ln K, the most that K classes can carry. A network that knows its way is
        sure of each position, and not of one class everywhere. One that sees more classes in the
        same picture, and doubts them all, does not.
        """
        own, other = (_some_probabilities(as_array(_main(o))[0]) for o in (adapted, source))
        doubt = float(entropy(own).mean() - entropy(other).mean())
        told = information(own) - information(other) - max(0.0, doubt)
        differ = float((self.mask(adapted) != self.mask(source)).mean())
        return Compared(told / math.log(own.shape[1]), differ)

    def read(self, outputs: Any, classes: Classes) -> MaskReading:
        """Return the mask of logits (1, K, H, W)."""
        logits, mask = as_array(_main(outputs))[0], self.mask(outputs)
        counts = np.bincount(mask.ravel(), minlength=len(logits)) / mask.size
        present = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k] > 0]
        shares = {k: float(counts[k]) for k in present}
        nats = float(entropy(_some_probabilities(logits)).mean()) + 0.0
        likeliest = tuple((classes.name(k), shares[k]) for k in present[:_LIKELIEST])
        return MaskReading(
            index=present[0],
            label=", ".join(f"{name} {share:.0%}" for name, share in likeliest[:3]),
            confidence=likeliest[0][1],
            entropy=nats,
            entropy_share=nats / math.log(len(logits)),
            likeliest=likeliest,
            mask=mask,
            classes=classes,
            shares=shares,
        )


def _some_probabilities(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the softmax (P, K) at some positions of logits (K, H, W)."""
    some = logits[:, ::_ENTROPY_STRIDE, ::_ENTROPY_STRIDE]
    return softmax(some.reshape(len(logits), -1).T)


def _main(outputs: Any) -> Any:
    """Return the output that holds the classes, "out" or the first; None: it does not."""
    if isinstance(outputs, Mapping) and "out" in outputs:
        outputs = outputs["out"]
    first = next(iter(leaves(outputs)), None)
    return first if first is not None and len(first.shape) == 4 else None
