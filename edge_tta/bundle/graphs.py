"""Looks into an ONNX file before it is run: which tensors it takes from which file.

Reads the protocol buffer itself, so that a device needs no `onnx` package. A bundle's graphs hold
operators with plain attributes alone: no functions, no subgraphs, no sparse tensors; anything else
is refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


# Field numbers of onnx.proto, by what they are called here.
_Schema = dict[int, str]
_MODEL: _Schema = {7: "graph", 20: "functions", 25: "functions"}
_GRAPH: _Schema = {1: "nodes", 5: "tensors", 15: "sparse tensors"}
_NODE: _Schema = {1: "inputs", 4: "operator", 5: "attributes"}
_ATTRIBUTE: _Schema = {20: "type"}
_TENSOR: _Schema = {
    **{1: "dims", 2: "type", 8: "name", 9: "raw", 13: "external", 14: "location"},
    **dict.fromkeys((4, 5, 6, 7, 10, 11), "other data"),
}
_ENTRY: _Schema = {1: "key", 2: "value"}


class _File(NamedTuple):
    """The graph that is looked into, and the file that it may take weights from."""

    path: Path
    weights: str
    weights_bytes: int


class _Message(dict[str, "list[int | memoryview]"]):
    """Values of a message's fields, by the schema's names; other fields are left out."""

    def __init__(self, data: memoryview, schema: _Schema) -> None:
        for number, value in _fields(data):
            if number in schema:
                self.setdefault(schema[number], []).append(value)

    def parts(self, name: str) -> list[memoryview]:
        """Return values that are no numbers: messages, texts, bytes."""
        values = self.get(name, [])
        if any(isinstance(value, int) for value in values):
            raise ValueError("a number in a message's place")
        return values  # type: ignore[return-value]

    def texts(self, name: str) -> list[str]:
        """Return values that are texts."""
        return [bytes(part).decode() for part in self.parts(name)]


def check_graph(path: Path, weights: str, weights_bytes: int) -> None:
    """Refuses a graph that reads other files than the weights, or beyond their end.

    Raises:
        BundleError: it does, makes tensors of absurd size, or is no ONNX file.
    """
    try:
        model = _Message(memoryview(path.read_bytes()), _MODEL)
        (data,) = model.parts("graph")
        graph = _Message(data, _GRAPH)
        for what in {"functions", "sparse tensors"} & (model.keys() | graph.keys()):
            raise BundleError(f"{path} holds {what}, which bundles do not; {_AGAIN}")
        file, asked = _File(path, weights, weights_bytes), {}
        for part in graph.parts("tensors"):
            tensor = _Message(part, _TENSOR)
            name = "".join(tensor.texts("name")[-1:])
            _check_tensor(tensor, name, file)
            asked[name] = _values_asked_for(tensor)
        for part in graph.parts("nodes"):
            _check_node(_Message(part, _NODE), asked, path)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is no ONNX file ({error}); {_AGAIN}") from error


def _check_node(node: _Message, asked: dict[str, int], path: Path) -> None:
    """Refuses a node with a subgraph or tensor in it, or one that makes a tensor of absurd size.

    asked: `_values_asked_for` of constants, by name.
    """
    for part in node.parts("attributes"):
        if not _PLAIN_ATTRIBUTES.issuperset(_Message(part, _ATTRIBUTE).get("type", [0])):
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


def _values_asked_for(tensor: _Message) -> int:
    """Return how many values a small constant of whole numbers stands for, taken for a shape."""
    raw = b"".join(tensor.parts("raw")[-1:])
    if tensor.get("type") != [_INT64] or len(raw) > 8 * _MOST_AXES:
        return 0
    return math.prod(max(1, abs(value)) for (value,) in struct.iter_unpack("<q", raw))


def _check_tensor(tensor: _Message, name: str, file: _File) -> None:
    """Refuses a tensor that is stored elsewhere, or is not of the size that it says."""
    what = f"{file.path}: tensor {quoted(name)}"
    if "other data" in tensor:
        raise BundleError(f"{what} is not stored as bundles store it; {_AGAIN}")
    dims: list[int] = []
    for value in tensor.get("dims", ()):
        dims += [value] if isinstance(value, int) else _packed(value)
    kinds = [kind for kind in tensor.get("type", ()) if isinstance(kind, int)]
    width = _SIZES.get(kinds[-1], 0) if kinds else 0
    if not width or any(not 0 <= dim < 1 << 40 for dim in dims):
        raise BundleError(f"{what} has an unknown type or a negative size; {_AGAIN}")
    size = width * math.prod(dims)
    entries = [_Message(entry, _ENTRY) for entry in tensor.parts("external")]
    external = {"".join(e.texts("key")): "".join(e.texts("value")) for e in entries}
    if not external and 1 not in tensor.get("location", ()):
        raw = sum(map(len, tensor.parts("raw")))
        if raw != size:
            raise BundleError(f"{what} has {raw} bytes, expected {size}; {_AGAIN}")
        return
    if external.get("location") != file.weights:
        raise BundleError(
            f"{file.path} takes {quoted(name)} from {quoted(external.get('location'))}; expected "
            f"{file.weights} in the bundle's own folder; {_AGAIN}"
        )
    offset, length = int(external.get("offset", "0")), int(external.get("length", "-1"))
    if length != size or offset < 0 or offset + length > file.weights_bytes:
        raise BundleError(
            f"{what} wants {size} bytes at {offset} of {file.weights}, which has "
            f"{file.weights_bytes}; {_AGAIN}"
        )


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield field numbers and values of a message: numbers, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"field type {kind}")
        if at + length > len(data):
            raise ValueError("it ends too early")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = shift = 0
    while shift <= 63:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
    raise ValueError("a number without end")


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value
