"""Classification: logits (N, K), one class an image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tta.prepare import Fit
from edge_tta.probability import as_array, entropy, softmax
from edge_tta.tasks.base import Classes, Reading

_LIKELIEST = 4


class Classification:
    """The task of classifiers."""

    name, learns, host, filtered, fit = "classify", True, "tent", True, Fit.CROP
    preset: Mapping[str, Any] = {}

    def takes(self, outputs: Any, image_shape: Sequence[int]) -> str:
        """Return "" for logits (N, K), or (N,) of a network that has one output."""
        rank = len(getattr(outputs, "shape", ()))
        return "" if rank in (1, 2) else "expected logits (N, classes) as one tensor"

    def votes(self, outputs: Any) -> Any:
        """Return the logits: one vote an image."""
        return outputs

    def read(self, outputs: Any, classes: Classes) -> Reading:
        """Return the reading of logits (1, K)."""
        return read_logits(as_array(outputs)[0], classes)


def read_logits(logits: npt.NDArray[Any], classes: Classes) -> Reading:
    """Reads logits (C,). Where they are not finite, so are confidence and entropy."""
    p = softmax(logits)
    index = int(np.argmax(logits))
    nats = float(entropy(p)) + 0.0  # never -0.0
    first = np.argsort(-p, kind="stable")[:_LIKELIEST]
    return Reading(
        index,
        classes.name(index),
        float(p[index]),
        nats,
        nats / math.log(max(len(p), 2)),
        tuple((classes.name(int(k)), float(p[k])) for k in first),
    )
