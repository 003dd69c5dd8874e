"""Metrics of masks and of boxes.

mIoU: intersection over union of each class over all pictures, mean over the classes that the labels
hold. mAP50: average precision at IoU .5, of 101 recalls as COCO does it, mean over the classes.
Recall: share of the given targets that a box of their class covers, for pictures of which only some
objects are labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.tasks.detection import SHOWN_FROM, Boxes, overlaps

Mask = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

LEAST_OVERLAP = 0.5
_RECALLS = np.linspace(0, 1, 101)


class Truth(NamedTuple):
    """Labelled boxes of a picture: corners (M, 4) in 0..1, classes (M,), and crowd (M,) bool, of
    which any number of boxes may lie in one and none has to."""

    corners: Array
    classes: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, corners: npt.ArrayLike, classes: npt.ArrayLike, crowd: Any = False) -> Truth:
        """Return boxes of numbers of any kind. crowd: of each, or of all."""
        numbers = np.asarray(classes, np.int64)
        crowds = np.broadcast_to(np.asarray(crowd, bool), numbers.shape)
        return cls(np.asarray(corners, float).reshape(-1, 4), numbers, crowds)


class Masks:
    """Counts of pixels by true and predicted class.

    ignored: class numbers that are no label; nor are they an answer that counts.
    """

    def __init__(self, classes: int, ignored: Sequence[int]) -> None:
        self._kept = np.array([k not in ignored for k in range(classes)])
        self._counts = np.zeros((classes, classes), np.int64)

    def add(self, mask: Mask, truth: Mask) -> None:
        """One picture, masks (H, W) uint8; the predicted one takes the size of the true one."""
        if mask.shape != truth.shape:
            size = truth.shape[1], truth.shape[0]
            mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        classes = len(self._kept)
        known = truth < classes
        known[known] = self._kept[truth[known]]
        pairs = truth[known].astype(np.int64) * classes + mask[known]
        self._counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def miou(self) -> float:
        """Return the mean intersection over union; NaN where nothing is labelled."""
        right, labelled = np.diag(self._counts), self._counts.sum(1)
        union = labelled + self._counts.sum(0) - right
        present = labelled > 0
        return float((right[present] / union[present]).mean()) if present.any() else float("nan")

    def error(self) -> float:
        """Return the share of labelled pixels that were wrong."""
        return 1 - float(np.trace(self._counts) / max(self._counts.sum(), 1))


def map50(predicted: Sequence[Boxes], truths: Sequence[Truth]) -> float:
    """Return the mean average precision at IoU .5 of pictures; NaN where nothing is labelled."""
    classes = sorted({int(k) for t in truths for k in t.classes[~t.crowd]})
    precisions = [_average_precision(predicted, truths, k) for k in classes]
    return float(np.mean(precisions)) if precisions else float("nan")


def recall(predicted: Sequence[Boxes], truths: Sequence[Truth]) -> float:
    """Return the share of the boxes given that one of SHOWN_FROM and their class covers."""
    covered = total = 0
    for boxes, truth in zip(predicted, truths, strict=True):
        shown = boxes.above(SHOWN_FROM)
        fits = overlaps(truth.corners, shown.corners.astype(float))
        same = truth.classes[:, None] == shown.classes[None]
        covered += int(((fits >= LEAST_OVERLAP) & same).any(1).sum())
        total += len(truth.classes)
    return covered / total if total else float("nan")


def _average_precision(predicted: Sequence[Boxes], truths: Sequence[Truth], k: int) -> float:
    """Return the average precision of a class."""
    scores: list[float] = []
    right: list[bool] = []
    labelled = 0
    for boxes, truth in zip(predicted, truths, strict=True):
        own, true = boxes.classes == k, truth.classes == k
        crowd = truth.crowd[true]
        labelled += int((~crowd).sum())
        fits = overlaps(boxes.corners[own].astype(float), truth.corners[true], crowd)
        taken = np.zeros(len(crowd), bool)
        for score, row in zip(boxes.scores[own], fits, strict=True):
            best = _match(row, taken, crowd)
            if best is None or not crowd[best]:
                scores.append(float(score))
                right.append(best is not None)
            if best is not None:
                taken[best] = not crowd[best]
    order = np.argsort(-np.array(scores), kind="stable")
    hits = np.cumsum(np.array(right, bool)[order])
    if not len(hits):
        return 0.0
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    places = np.searchsorted(hits / labelled, _RECALLS)
    return float(np.where(places < len(hits), precision[places.clip(max=len(hits) - 1)], 0).mean())


def _match(row: Array, taken: npt.NDArray[np.bool_], crowd: npt.NDArray[np.bool_]) -> int | None:
    """Return the labelled box that a predicted one stands for, a crowd only where there is none."""
    for group in (~crowd & ~taken, crowd):
        fits = np.where(group, row, 0)
        if len(fits) and fits.max() >= LEAST_OVERLAP:
            return int(fits.argmax())
    return None
