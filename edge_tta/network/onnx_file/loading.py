"""An ONNX file as checked protobuf: nothing in it is run, nothing outside its folder is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, inliner, numpy_helper

from edge_tta.errors import ModelError, one_line, quoted
from edge_tta.network.onnx_file.nodes import Host, Node

OPSETS = range(11, 27)
"""Versions of ONNX's operators that are read."""
_MOST_BYTES = 2**31 - 1
_MOST_NODES = 100_000
_HALF = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


def load_proto(path: Path) -> onnx.ModelProto:
    """Return a file's model, with its external data in it and local functions inlined.

    Raises:
        ModelError: no ONNX file, a damaged one, of another opset, or with data outside its folder.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"there is no file {path}; check the path") from error
    if size > _MOST_BYTES:
        raise ModelError(
            f"{path} has {size / 1e9:.1f} GB, more than protobuf can hold; save its weights as "
            "external data"
        )
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # of protobuf, whose type differs between its versions
        raise ModelError(
            f"{path} is no ONNX file, or not whole ({one_line(error, 100)}); copy it again"
        ) from error
    if not proto.graph.node:
        raise ModelError(f"{path} holds no graph; expected an ONNX file of a whole network")
    _load_external(proto, path)
    if proto.functions:
        _refuse_recursion(proto, path)
        try:
            proto = inliner.inline_local_functions(proto)
        except Exception as error:
            raise ModelError(
                f"the functions in {path} cannot be read: {one_line(error, 200)}; export it "
                "without local functions"
            ) from error
    opset = opset_of(proto)
    if opset not in OPSETS:
        raise ModelError(
            f"{path} is of opset {opset}; expected {OPSETS[0]} to {OPSETS[-1]}: export it so, or "
            "use onnx.version_converter"
        )
    if len(proto.graph.node) > _MOST_NODES:
        raise ModelError(f"{path} has {len(proto.graph.node)} nodes; expected a network's")
    return proto


def opset_of(proto: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators."""
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    return int(versions[0]) if versions else 1


def nodes_of(proto: onnx.ModelProto) -> list[Node]:
    """Return a graph's nodes, in its order.

    Raises:
        ModelError: one that stands before what it reads, as in a cycle, or an unknown attribute.
    """
    opset, known = opset_of(proto), {""}
    known |= {text(v.name) for v in (*proto.graph.input, *proto.graph.initializer)}
    nodes = []
    for given in proto.graph.node:
        domain = "" if given.domain in ("", "ai.onnx") else f"{text(given.domain)}."
        inputs, outputs = tuple(map(text, given.input)), tuple(map(text, given.output))
        node = Node(domain + text(given.op_type), text(given.name), inputs, outputs, {}, opset)
        missing = [name for name in node.inputs if name not in known]
        if missing:
            raise node.error(
                f"reads {quoted(missing[0])}, which no node before it makes; expected a graph "
                "without cycles, in order"
            )
        again = [name for name in node.outputs if name and name in known]
        if again:
            raise node.error(f"makes {quoted(again[0])} again; expected each value once")
        known.update(node.outputs)
        for attribute in given.attribute:
            node.attributes[text(attribute.name)] = _attribute(attribute, node)
        nodes.append(node)
    missing = [text(value.name) for value in proto.graph.output if text(value.name) not in known]
    if missing:
        raise ModelError(f"no node makes the graph's output {quoted(missing[0])}; export it again")
    return nodes


def text(name: str | bytes) -> str:
    """Return a name; protobuf gives one that is not UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode(errors="backslashreplace")


def array_of(proto: TensorProto, node: object = "initializer") -> Host:
    """Return a tensor's values; floats as float32.

    Raises:
        ModelError: its bytes are not those of its shape.
    """
    try:
        shape = tuple(proto.dims)
        if any(d < 0 for d in shape):
            raise ValueError(f"shape {shape}")
        if proto.raw_data or proto.data_type == TensorProto.STRING:
            array = numpy_helper.to_array(proto)
        else:
            stored = sum(
                len(getattr(proto, f"{kind}_data"))
                for kind in ("float", "int32", "int64", "double", "uint64")
            )
            wanted = int(np.prod(shape, dtype=object)) if shape else 1
            if wanted > max(stored, 0) * 2:  # two four-bit values may share one
                raise ValueError(f"{stored} values for shape {shape}")
            array = numpy_helper.to_array(proto)
    except Exception as error:
        raise ModelError(
            f"{node} {quoted(proto.name)} is damaged ({one_line(error, 100)}); export it again"
        ) from error
    if proto.data_type in _HALF:
        array = array.astype(np.float32)
    return np.asarray(array)


def _attribute(given: onnx.AttributeProto, node: Node) -> Any:
    if given.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        return None  # of If, Loop and Scan, which no operator here is
    if given.type == onnx.AttributeProto.TENSOR:
        return array_of(given.t, node)
    try:
        value = onnx.helper.get_attribute_value(given)
    except Exception as error:
        raise node.error(
            f"has a damaged attribute {quoted(given.name)} ({one_line(error, 80)})"
        ) from error
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if given.type > onnx.AttributeProto.GRAPH else value


def _load_external(proto: onnx.ModelProto, path: Path) -> None:
    """Read tensors that lie in files beside a model's own."""
    folder = path.resolve().parent
    for tensor in _tensors(proto):
        if not external_data_helper.uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = Path(os.path.realpath(folder / location))
        if not location or not file.is_relative_to(folder):
            raise ModelError(
                f"{path} keeps {quoted(tensor.name)} in {quoted(location)}, outside its folder, "
                "which is not opened; expected external data beside the file"
            )
        try:
            begin, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
            size = file.stat().st_size
            length = size - begin if length < 0 else length
            if begin < 0 or begin + length > size:
                raise OSError(f"it has {size} bytes, {begin + length} are asked for")
            with file.open("rb") as stream:
                stream.seek(begin)
                tensor.raw_data = stream.read(length)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"the external data {quoted(location)} of {path} cannot be read "
                f"({one_line(error, 100)}); copy it along with the file"
            ) from error
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from proto.graph.initializer
    for node in (*proto.graph.node, *(n for f in proto.functions for n in f.node)):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def _refuse_recursion(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse local functions that call one another in a circle, which inlining would not end."""
    calls = {(f.domain, f.name): {(n.domain, n.op_type) for n in f.node} for f in proto.functions}
    left = dict(calls)
    while left:
        ready = [key for key, called in left.items() if not called & left.keys()]
        if not ready:
            names = ", ".join(sorted(name for _, name in left)[:3])
            raise ModelError(f"the functions in {path} call one another in a circle ({names})")
        for key in ready:
            del left[key]
