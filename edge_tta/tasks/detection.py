"""Detection: boxes, which a user's `decode(outputs)` reads from outputs of any form.

    decode(outputs) -> [(boxes, scores, classes)], one entry an image

boxes (M, 4): x1, y1, x2, y2 in 0..1 of the image; scores (M,) in 0..1; classes (M,). Boxes that
cover one another are thinned out here: for each class, greedily by score (non-maximum suppression).

    class_logits(outputs) -> (N * P, K)

of the P boxes of each image that are to teach, in PyTorch; without it statistics alone calibrate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.errors import ModelError, one_line
from edge_tta.frames.source import Pixels
from edge_tta.nest import leaves, mapped
from edge_tta.prepare import Fit
from edge_tta.probability import as_array
from edge_tta.show.boxes import DrawnBox, draw_boxes
from edge_tta.show.colours import Colour, colour_of
from edge_tta.tasks.base import FRAMEWISE, Classes, Compared, Reading

Decode = Callable[[Any], Any]
ClassLogits = Callable[[Any], Any]

SHOWN_FROM = 0.3
"""Score from which boxes are shown and told."""
LEAST_SCORE = 0.01
"""Score below which a box is none at all."""
OVERLAP = 0.45
"""Intersection over union above which a box is the same as a better one of its class."""
MOST_BOXES = 300

_MOST_SCORE = 1.001
"""Rounding is forgiven."""
_SAME = 0.5
"""Intersection over union from which two networks' boxes are of one thing."""
_FAR = 4.0
"""Sides of the image; half of the boxes do not end beyond."""

_OF_SOURCE: Colour = (235, 235, 235)
_MOST_NAMES = 4


class Boxes(NamedTuple):
    """Boxes of one image, the highest score first: corners (M, 4), x1 y1 x2 y2 in 0..1; scores
    (M,); class numbers (M,)."""

    corners: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]

    @property
    def highest(self) -> float:
        """Highest score; 0: there are none."""
        return float(self.scores[0]) if len(self.scores) else 0.0

    def above(self, score: float) -> Boxes:
        """Return those of a score or more."""
        kept = self.scores >= score
        return Boxes(self.corners[kept], self.scores[kept], self.classes[kept])


@dataclass(frozen=True)
class BoxReading(Reading):
    """Boxes of one image, with SHOWN_FROM or more; `classes`: what their numbers stand for."""

    boxes: Boxes
    classes: Classes

    pictured: ClassVar[bool] = True

    def record(self, height: int, width: int) -> dict[str, Any]:
        """Return the boxes, [x, y, w, h] in pixels of the frame, with class and score."""
        told = []
        for (x1, y1, x2, y2), score, k in zip(*self.boxes, strict=True):
            box = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
            name = self.classes.name(int(k))
            told.append(
                {"box": list(map(float, box)), "class": int(k), "label": name, "score": score}
            )
        return {"boxes": told}

    def compared(self, height: int, width: int) -> dict[str, Any]:
        """Return the same of a method compared with."""
        return self.record(height, width)

    def painted(self, pixels: Pixels, source: Reading | None) -> Pixels:
        """Return a frame with its boxes, and the source's dashed where it is given."""
        canvas = pixels.copy()
        if isinstance(source, BoxReading):
            draw_boxes(canvas, source.drawn(pixels, _OF_SOURCE), dashed=True)
        draw_boxes(canvas, self.drawn(pixels))
        return canvas

    def drawn(self, pixels: Pixels, colour: Colour | None = None) -> list[DrawnBox]:
        """Return the boxes as they are drawn onto a frame, the best last; None: by class."""
        height, width = pixels.shape[:2]
        boxes = []
        for corners, score, k in zip(*(part[::-1] for part in self.boxes), strict=True):
            ends = corners * (width, height, width, height)
            left, top, right, bottom = (round(float(end)) for end in ends)
            text = f"{self.classes.name(int(k))} {score:.0%}"
            boxes.append(DrawnBox(left, top, right, bottom, text, colour or colour_of(int(k))))
        return boxes


class Detection:
    """The task of detectors.

    Args:
        decode: reads the boxes; None: nothing is known of the outputs' meaning.
        class_logits: of boxes that are to teach; None: there is no loss.
    """

    name, host, filtered, fit = "detect", "norm", False, Fit.STRETCH
    preset: Mapping[str, Any] = FRAMEWISE
    margin, parts = 0.015, "boxes"

    def __init__(
        self, decode: Decode | None = None, class_logits: ClassLogits | None = None
    ) -> None:
        self._decode, self._class_logits = decode, class_logits
        self._checked = False
        self.learns = class_logits is not None

    @property
    def has_decode(self) -> bool:
        """True where boxes can be read from the outputs."""
        return self._decode is not None

    def takes(self, outputs: Any, image_shape: Sequence[int]) -> str:
        """Return "": boxes may be in anything."""
        return ""

    def votes(self, outputs: Any) -> Any | None:
        """Return the class logits of the boxes that teach; None: there are none.

        Raises:
            ModelError: the user's function fails, or gives something else.
        """
        if self._class_logits is None:
            return None
        wanted = "expected class logits (N * P, K) of P boxes an image"
        try:
            logits = self._class_logits(outputs)
            shape = tuple(logits.shape)
        except Exception as error:  # whatever a user's function raises
            raise ModelError(
                f"class_logits fails with {type(error).__name__}: {one_line(error, 160)}; {wanted}"
            ) from error
        first = leaves(outputs)[0]
        if len(shape) != 2 or not shape[0] or shape[0] % len(first) or shape[1] < 2:
            raise ModelError(f"class_logits gives {shape}; {wanted}, two classes or more")
        teaches = getattr(logits, "requires_grad", None)
        if teaches is None or (first.requires_grad and not teaches):
            raise ModelError(
                "class_logits gives numbers without a gradient; make them of the outputs in "
                "PyTorch, without numpy() and detach()"
            )
        return logits

    def worth(self, outputs: Any) -> float:
        """Return the highest score of the boxes; 0: there are none."""
        return self.boxes(outputs).highest

    def compare(self, adapted: Any, source: Any) -> Compared:
        """Return by how much the adapted network's highest score is the higher one, and the share
        of shown boxes that the other network has no such box of its class for, one over the other
        by half of both."""
        both = [self.boxes(outputs) for outputs in (adapted, source)]
        own, other = (boxes.above(SHOWN_FROM) for boxes in both)
        total = len(own.scores) + len(other.scores)
        alike = overlaps(own.corners, other.corners) > _SAME
        alike &= own.classes[:, None] == other.classes
        shared = int(alike.any(0).sum()) + int(alike.any(1).sum())
        return Compared(both[0].highest - both[1].highest, 1 - shared / total if total else 0.0)

    def read(self, outputs: Any, classes: Classes) -> BoxReading:
        """Return the boxes of one image.

        Raises:
            ModelError: there is no decode, or it gives something else.
        """
        boxes = self.boxes(outputs).above(SHOWN_FROM)
        counts = Counter(classes.name(int(k)) for k in boxes.classes)
        most = counts.most_common(_MOST_NAMES)
        total = max(len(boxes.scores), 1)
        return BoxReading(
            index=int(boxes.classes[0]) if len(boxes.classes) else 0,
            label=", ".join(f"{times} {name}" for name, times in most) or "nothing",
            confidence=boxes.highest,
            entropy=math.nan,
            entropy_share=math.nan,
            likeliest=tuple((name, times / total) for name, times in most),
            boxes=boxes,
            classes=classes,
        )

    def boxes(self, outputs: Any) -> Boxes:
        """Return all boxes of one image, thinned out. Raises ModelError as `read` does."""
        if self._decode is None:
            raise ModelError(
                "the outputs of a detector need a decode(outputs) in the model's file; write it, "
                "or give --task features to calibrate alone"
            )
        try:
            here = mapped(lambda t: t.cpu() if hasattr(t, "cpu") else t, outputs)
            ((corners, scores, numbers),) = self._decode(here)
            arrays = [as_array(part) for part in (corners, scores, numbers)]
            if not self._checked:  # later ones may be wild, as of a network gone astray
                self._checked = _checked(*arrays[:2])
            return _thinned(*arrays)
        except Exception as error:  # whatever a user's function raises
            raise ModelError(
                f"decode fails with {type(error).__name__}: {one_line(error, 160)}; expected "
                "[(boxes (M, 4) in 0..1, scores (M,), classes (M,))] of one image"
            ) from error


def _checked(corners: Any, scores: Any) -> bool:
    """Return whether there were boxes to check.

    Raises:
        ValueError: scores are no probabilities, or corners no shares of the image.
    """
    scores = scores[scores > LEAST_SCORE]
    if (scores > _MOST_SCORE).any():
        raise ValueError(f"a score of {scores.max():.3g}: scores are 0..1, logits need a sigmoid")
    if (corners.max(1, initial=0) > _FAR).sum() > len(corners) / 2:
        raise ValueError(
            f"corners up to {corners.max():.3g}: they are in 0..1 of the image, not in pixels"
        )
    return len(scores) > 0


def _thinned(corners: Any, scores: Any, numbers: Any) -> Boxes:
    """Return boxes by falling score, those that a better one of their class covers left out."""
    corners = corners.astype(np.float32).reshape(-1, 4).clip(0, 1)
    scores, numbers = scores.astype(np.float32).ravel(), numbers.astype(np.int64).ravel()
    some = np.isfinite(scores) & (scores > LEAST_SCORE) & np.isfinite(corners).all(1)
    corners, scores, numbers = corners[some], scores[some], numbers[some]
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    kept = cv2.dnn.NMSBoxesBatched(
        sides.tolist(), scores.tolist(), numbers.tolist(), LEAST_SCORE, OVERLAP
    )
    order = np.asarray(kept, np.int64).ravel()
    order = order[np.argsort(-scores[order], kind="stable")][:MOST_BOXES]
    return Boxes(corners[order], scores[order], numbers[order])


def overlaps(
    boxes: npt.NDArray[Any], others: npt.NDArray[Any], crowd: npt.NDArray[np.bool_] | bool = False
) -> npt.NDArray[Any]:
    """Return intersection over union (n, m) of corners; of a crowd over the first box's area.

    crowd: which of the others are one, (m,).
    """
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas, of_others = ((part[:, 2:] - part[:, :2]).prod(1) for part in (boxes, others))
    union = areas[:, None] + np.where(crowd, 0, of_others[None] - shared)
    shares: npt.NDArray[Any] = shared / np.maximum(union, 1e-12)
    return shares
