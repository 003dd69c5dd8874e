"""Messages of ONNX files, read from the protocol buffer itself, without the `onnx` package."""

from __future__ import annotations

from collections.abc import Iterator

# Field numbers of onnx.proto, by what they are called here.
Schema = dict[int, str]
MODEL: Schema = {7: "graph", 20: "functions", 25: "functions"}
GRAPH: Schema = {1: "nodes", 5: "tensors", 15: "sparse tensors"}
NODE: Schema = {1: "inputs", 4: "operator", 5: "attributes"}
ATTRIBUTE: Schema = {20: "type"}
TENSOR: Schema = {
    **{1: "dims", 2: "type", 8: "name", 9: "raw", 13: "external", 14: "location"},
    **dict.fromkeys((4, 5, 6, 7, 10, 11), "other data"),
}
ENTRY: Schema = {1: "key", 2: "value"}


class Message(dict[str, "list[int | memoryview]"]):
    """Values of a message's fields, by the schema's names; other fields are left out."""

    def __init__(self, data: memoryview, schema: Schema) -> None:
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


def packed(data: memoryview) -> Iterator[int]:
    """Yield the numbers of a packed field."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def external(tensor: Message) -> dict[str, str]:
    """Return where a tensor is stored, of a message by TENSOR; empty: in the file itself."""
    entries = (Message(entry, ENTRY) for entry in tensor.parts("external"))
    return {"".join(e.texts("key")): "".join(e.texts("value")) for e in entries}


def dims(tensor: Message) -> list[int]:
    """Return a tensor's sides, of a message by TENSOR."""
    sides: list[int] = []
    for value in tensor.get("dims", ()):
        sides += [value] if isinstance(value, int) else packed(value)
    return sides
