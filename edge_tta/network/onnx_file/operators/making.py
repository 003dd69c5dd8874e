"""Tensors that are made of numbers alone, and conversions of type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_tta.network.onnx_file.nodes import Given, Host, Node, Value, reads, tensor, whole
from edge_tta.network.onnx_file.operators.shapes import MOST_ELEMENTS, check_size


@reads("ConstantOfShape")
def constant_of_shape(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """One value, everywhere in a shape."""
    value = node.get("value", np.zeros(1, np.float32)).ravel()[0]

    def compute(shape: Given) -> Host:
        sides = whole(shape, node)
        check_size(node, sides)
        if any(not isinstance(side, int) for side in sides):
            raise node.error("makes a tensor by the number of images; expected constant shapes")
        if np.issubdtype(np.asarray(value).dtype, np.integer):
            return np.full(sides, int(value), object)
        return np.full(sides, value)

    return compute


@reads("Range")
def arange(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Numbers from one to another."""

    def compute(first: Given, last: Given, step: Given) -> Host:
        parts = [v for v in (first, last, step) if isinstance(v, np.ndarray)]
        if len(parts) != 3:
            raise node.error("has limits that are computed from the images; expected constants")
        begin, end, by = (part.ravel()[0] for part in parts)
        if by == 0 or (end - begin) / by > MOST_ELEMENTS:
            raise node.error(f"counts from {begin} to {end} by {by}; expected what fits in memory")
        if parts[0].dtype == object:
            return np.arange(int(begin), int(end), int(by))
        return np.arange(begin, end, by, dtype=parts[0].dtype)

    return compute


# Types as ONNX numbers them, for tensors and for what is known without images.
_DTYPES: dict[int, tuple[torch.dtype, Any]] = {
    1: (torch.float32, np.float32),
    2: (torch.uint8, np.uint8),
    3: (torch.int8, np.int8),
    5: (torch.int16, np.int16),
    6: (torch.int32, np.int32),
    7: (torch.int64, np.int64),
    9: (torch.bool, np.bool_),
    10: (torch.float32, np.float32),
    11: (torch.float32, np.float32),
    16: (torch.float32, np.float32),
}


@reads("Cast", "CastLike")
def cast(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Another type; every float is float32 here."""
    if node.operator == "CastLike":
        return lambda x, like: tensor(x, like).to(like.dtype)
    kind = int(node.get("to", 1))
    if kind not in _DTYPES:
        raise node.error(f"casts to type {kind}; expected numbers or bool")
    of_tensors, of_hosts = _DTYPES[kind]

    def compute(x: Value) -> Value:
        if isinstance(x, Tensor):
            return x.to(of_tensors)
        if x.dtype == object and of_hosts not in (np.float32, np.bool_):
            return x
        if x.dtype == object and any(not isinstance(v, (int, float)) for v in x.ravel()):
            return x  # the number of images, as a float
        return x.astype(of_hosts)

    return compute
