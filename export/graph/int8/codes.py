"""Codes of 8 bits, of activations and of weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

Array = npt.NDArray[Any]

LEVELS = 255
_LARGEST_WEIGHT = 127
_GEOMETRY = ("strides", "pads", "dilations", "group")


class Codes(NamedTuple):
    """Codes of a tensor: names of the codes, their scale and their zero, and the scale itself."""

    codes: str
    scale: str
    zero: str
    step: float


def codes_of(weight: Array) -> tuple[Array, Array]:
    """Return int8 codes of a weight (C, ...), and the scales (C,) float32."""
    rows = weight.reshape(len(weight), -1)
    steps = (np.abs(rows).max(1) / _LARGEST_WEIGHT).astype(np.float32)
    steps[steps == 0] = 1.0  # codes of 0, beside a bias that counts in steps
    return np.round(rows / steps[:, None]).astype(np.int8).reshape(weight.shape), steps


def whole(steps: Array) -> Array:
    """Return int32 of numbers of steps."""
    return np.round(np.clip(steps, -(2.0**30), 2.0**30)).astype(np.int32)


def geometry(node: NodeProto) -> dict[str, Any]:
    """Return the attributes that all kinds of convolutions have."""
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {"group": 1, **{name: given[name] for name in _GEOMETRY if name in given}}
