"""Looks into an ONNX file before it is run: which tensors it takes from which file.

Reads the protocol buffer itself, so that a device needs no `onnx` package. Field numbers are those
of onnx.proto. A bundle's graphs hold operators with plain attributes alone: no functions, no
subgraphs, no sparse tensors; anything else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from edge_tta.errors import BundleError

# Bytes of an element by TensorProto.DataType: FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16.
_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2}
# AttributeProto.AttributeType: FLOAT, INT, STRING, FLOATS, INTS, STRINGS.
_PLAIN_ATTRIBUTES = {1, 2, 3, 6, 7, 8}

_Field = tuple[int, "int | memoryview"]


def check_graph(path: Path, weights: str, weights_bytes: int) -> None:
    """Refuses a graph that reads other files than the weights, or beyond their end.

    Raises:
        BundleError: it does, or is no ONNX file.
    """
    try:
        _check(memoryview(path.read_bytes()), path, weights, weights_bytes)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is no ONNX file ({error}); export the bundle again") from error


def _check(data: memoryview, path: Path, weights: str, weights_bytes: int) -> None:
    graphs = 0
    for number, value in _fields(data):
        if number in (20, 25):
            raise BundleError(f"{path} holds functions, which bundles do not; export it again")
        if number != 7:
            continue
        graphs += 1
        for inner, part in _fields(_message(value)):
            if inner == 1:
                _check_node(_message(part), path)
            elif inner == 5:
                _check_tensor(_message(part), path, weights, weights_bytes)
            elif inner == 15:
                raise BundleError(f"{path} holds sparse tensors, which bundles do not")
    if graphs != 1:
        raise ValueError("no graph in it")


def _check_node(node: memoryview, path: Path) -> None:
    for number, value in _fields(node):
        if number != 5:
            continue
        kinds = [v for n, v in _fields(_message(value)) if n == 20]
        if not kinds or any(kind not in _PLAIN_ATTRIBUTES for kind in kinds):
            raise BundleError(
                f"{path} holds a subgraph or a tensor within an operator, which bundles do not; "
                "export it again"
            )


def _check_tensor(tensor: memoryview, path: Path, weights: str, weights_bytes: int) -> None:
    dims: list[int] = []
    kind, name, external, raw = 0, "", {}, -1
    is_external = False
    for number, value in _fields(tensor):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(_packed(value))
        elif number == 2:
            kind = int(value) if isinstance(value, int) else -1
        elif number == 8:
            name = bytes(_message(value)).decode()
        elif number == 9:
            raw = len(_message(value))
        elif number == 13:
            entry = {n: bytes(_message(v)).decode() for n, v in _fields(_message(value))}
            external[entry.get(1, "")] = entry.get(2, "")
        elif number == 14:
            is_external = value == 1
        elif number in (4, 5, 6, 7, 10, 11):
            raise BundleError(f"{path}: tensor {name!r:.80} is not stored as bundles store it")
    size = _SIZES.get(kind, 0) * math.prod(dims)
    if kind not in _SIZES or any(not 0 <= dim < 1 << 40 for dim in dims):
        raise BundleError(f"{path}: tensor {name!r:.80} has an unknown type or a negative size")
    if not is_external and not external:
        if raw != size:
            raise BundleError(f"{path}: tensor {name!r:.80} has {raw} bytes, expected {size}")
        return
    if external.get("location") != weights:
        raise BundleError(
            f"{path} takes {name!r:.80} from {external.get('location')!r:.80}; expected {weights} "
            "in the bundle's own folder; export it again"
        )
    offset, length = int(external.get("offset", "0")), int(external.get("length", "-1"))
    if length != size or offset < 0 or offset + length > weights_bytes:
        raise BundleError(
            f"{path}: tensor {name!r:.80} wants {size} bytes at {offset} of {weights}, which has "
            f"{weights_bytes}; export the bundle again"
        )


def _fields(data: memoryview) -> Iterator[_Field]:
    """Field numbers and values of a message: numbers, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
            if at > len(data):
                raise ValueError("it ends too early")
        elif kind == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("it ends too early")
            yield number, data[at : at + length]
            at += length
        else:
            raise ValueError(f"field type {kind}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number without end")


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number in a message's place")
    return value
