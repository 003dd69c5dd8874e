"""Looks into an ONNX file before it is run: which tensors it takes from which file.

A bundle's graphs hold operators with plain attributes alone: no functions, no subgraphs, no sparse
tensors; anything else is refused.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import NamedTuple

from edge_tta.bundle.messages import (
    ATTRIBUTE,
    GRAPH,
    MODEL,
    NODE,
    TENSOR,
    Message,
    dims,
    external,
)
from edge_tta.errors import BundleError, quoted

# Bytes of an element by TensorProto.DataType: FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16.
_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2}
_INT64 = 7
# AttributeProto.AttributeType: FLOAT, INT, STRING, FLOATS, INTS, STRINGS.
_PLAIN_ATTRIBUTES = {1, 2, 3, 6, 7, 8}
_MAKE_SIZES = {"ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"}
"""Operators whose result can be larger than all that they are given."""
_MOST_VALUES = 1 << 28
_MOST_AXES = 64
_AGAIN = "export the bundle again"


class _File(NamedTuple):
    """The graph that is looked into, and the file that it may take weights from."""

    path: Path
    weights: str
    weights_bytes: int


def check_graph(path: Path, weights: str, weights_bytes: int) -> None:
    """Refuses a graph that reads other files than the weights, or beyond their end.

    Raises:
        BundleError: it does, makes tensors of absurd size, or is no ONNX file.
    """
    try:
        model = Message(memoryview(path.read_bytes()), MODEL)
        (data,) = model.parts("graph")
        graph = Message(data, GRAPH)
        for what in {"functions", "sparse tensors"} & (model.keys() | graph.keys()):
            raise BundleError(f"{path} holds {what}, which bundles do not; {_AGAIN}")
        file, asked = _File(path, weights, weights_bytes), {}
        for part in graph.parts("tensors"):
            tensor = Message(part, TENSOR)
            name = "".join(tensor.texts("name")[-1:])
            _check_tensor(tensor, name, file)
            asked[name] = _values_asked_for(tensor)
        for part in graph.parts("nodes"):
            _check_node(Message(part, NODE), asked, path)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is no ONNX file ({error}); {_AGAIN}") from error


def _check_node(node: Message, asked: dict[str, int], path: Path) -> None:
    """Refuses a node with a subgraph or tensor in it, or one that makes a tensor of absurd size.

    asked: `_values_asked_for` of constants, by name.
    """
    for part in node.parts("attributes"):
        if not _PLAIN_ATTRIBUTES.issuperset(Message(part, ATTRIBUTE).get("type", [0])):
            raise BundleError(
                f"{path} holds a subgraph or a tensor within an operator, which bundles do not; "
                f"{_AGAIN}"
            )
    for operator in _MAKE_SIZES.intersection(node.texts("operator")):
        most = max((asked.get(name, 0) for name in node.texts("inputs")), default=0)
        if most > _MOST_VALUES:
            raise BundleError(
                f"{path} makes a tensor of 2^{most.bit_length() - 1} values or more ({operator}), "
                f"expected {_MOST_VALUES} at most; {_AGAIN}"
            )


def _values_asked_for(tensor: Message) -> int:
    """Return how many values a small constant of whole numbers stands for, taken for a shape."""
    raw = b"".join(tensor.parts("raw")[-1:])
    if tensor.get("type") != [_INT64] or len(raw) > 8 * _MOST_AXES:
        return 0
    return math.prod(max(1, abs(value)) for (value,) in struct.iter_unpack("<q", raw))


def _check_tensor(tensor: Message, name: str, file: _File) -> None:
    """Refuses a tensor that is stored elsewhere, or is not of the size that it says."""
    what = f"{file.path}: tensor {quoted(name)}"
    if "other data" in tensor:
        raise BundleError(f"{what} is not stored as bundles store it; {_AGAIN}")
    sides = dims(tensor)
    kinds = [kind for kind in tensor.get("type", ()) if isinstance(kind, int)]
    width = _SIZES.get(kinds[-1], 0) if kinds else 0
    if not width or any(not 0 <= side < 1 << 40 for side in sides):
        raise BundleError(f"{what} has an unknown type or a negative size; {_AGAIN}")
    size = width * math.prod(sides)
    place = external(tensor)
    if not place and 1 not in tensor.get("location", ()):
        raw = sum(map(len, tensor.parts("raw")))
        if raw != size:
            raise BundleError(f"{what} has {raw} bytes, expected {size}; {_AGAIN}")
        return
    if place.get("location") != file.weights:
        raise BundleError(
            f"{file.path} takes {quoted(name)} from {quoted(place.get('location'))}; expected "
            f"{file.weights} in the bundle's own folder; {_AGAIN}"
        )
    offset, length = int(place.get("offset", "0")), int(place.get("length", "-1"))
    if length != size or offset < 0 or offset + length > file.weights_bytes:
        raise BundleError(
            f"{what} wants {size} bytes at {offset} of {file.weights}, which has "
            f"{file.weights_bytes}; {_AGAIN}"
        )
