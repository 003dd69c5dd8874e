"""An ONNX file as a network, with what it says of its input and classes."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edge_tta.errors import ConfigError, ModelError, quoted
from edge_tta.network.onnx_file.loading import array_of, load_proto, nodes_of, text
from edge_tta.network.onnx_file.network import OnnxNetwork
from edge_tta.network.onnx_file.nodes import Host, Node
from edge_tta.prepare import InputSpec, sides_of

_PLAIN = {"scale": 1.0, "mean": 0.0, "std": 1.0}
"""Input of a network that normalises pixels 0..255 itself."""
_UNIT = {"scale": 255.0, "mean": 0.0, "std": 1.0}
"""Input of a network that takes values in 0..1."""


@dataclass(frozen=True)
class OnnxFile:
    """A network of an ONNX file, and what the file says of it.

    Attributes:
        module: images (N, channels, H, W) -> outputs, in evaluation mode.
        input: what it takes; where the file does not say, as usual.
        labels: names of its classes; None: not said.
    """

    path: Path
    module: OnnxNetwork
    input: InputSpec
    labels: tuple[str, ...] | None


OWN_INPUT = "edge_tta.input"
"""Key of the metadata of files that `edge-tta export folded` wrote: how pixels are normalised."""

NORMALISING = ("scale", "mean", "std", "channels")
"""Fields of `InputSpec` that say so."""


def read_file(path: str | Path) -> OnnxFile:
    """Return the network in an ONNX file. Nothing in the file is executed as code.

    Raises:
        ModelError: no such file, a damaged one, or a network that cannot be read: the operator
            and its node are named.
    """
    path = Path(path)
    proto = load_proto(path)
    constants = {text(t.name): array_of(t) for t in proto.graph.initializer}
    value, shape, whole = _images(proto, constants)
    last = _channels_last(shape)
    nodes = nodes_of(proto)
    outputs = [text(output.name) for output in proto.graph.output]
    module = OnnxNetwork(nodes, constants, value, outputs, last)
    spec = _input_spec(proto, nodes, constants, value, shape, last, whole)
    return OnnxFile(path, module, spec, _labels(proto))


def _images(
    proto: onnx.ModelProto, constants: dict[str, Host]
) -> tuple[str, list[int | None], bool]:
    """Return the input's name, its shape (None: free), and whether it takes whole numbers."""
    inputs = [value for value in proto.graph.input if text(value.name) not in constants]
    if len(inputs) != 1:
        names = ", ".join(text(value.name) for value in inputs[:4]) or "none"
        raise ModelError(
            f"the network has {len(inputs)} inputs ({names}); expected one, the images: export it "
            "without the others"
        )
    kind = inputs[0].type.tensor_type
    shape: list[int | None] = [
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim
    ]
    if len(shape) != 4:
        raise ModelError(
            f"the input {quoted(inputs[0].name)} has {len(shape)} axes; expected images "
            "(N, channels, H, W) or (N, H, W, channels)"
        )
    if kind.elem_type == onnx.TensorProto.STRING:
        raise ModelError(f"the input {quoted(inputs[0].name)} is text; expected images")
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    except KeyError:
        raise ModelError(
            f"the input {quoted(inputs[0].name)} has element type {kind.elem_type}, which is none "
            "of ONNX's; expected float32, float16 or uint8"
        ) from None
    return text(inputs[0].name), shape, dtype.kind in "iu"


def _channels_last(shape: Sequence[int | None]) -> bool:
    return shape[3] in (1, 3) and shape[1] not in (1, 3)


def _input_spec(
    proto: onnx.ModelProto,
    nodes: Sequence[Node],
    constants: dict[str, Host],
    value: str,
    shape: Sequence[int | None],
    last: bool,
    whole: bool,
) -> InputSpec:
    """Return the input that the file tells of."""
    channels, high, wide = (shape[3], *shape[1:3]) if last else shape[1:]
    given: dict[str, Any] = {}
    if channels not in (1, 3, None):
        raise ModelError(f"the network takes {channels} channels; expected 1 or 3")
    if channels == 1:
        given["channels"] = "gray"
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    usual = InputSpec()
    sizes = _literal(metadata.get("imgsz", ""))
    if isinstance(sizes, list) and len(sizes) == 2 and all(isinstance(s, int) for s in sizes):
        high, wide = high or sizes[0], wide or sizes[1]
    usual_high, usual_wide = sides_of(usual.size)
    given["size"] = (high or usual_high, wide or usual_wide)
    scaling = _own_scaling(nodes, constants, value)
    own = _literal(metadata.get(OWN_INPUT, ""))
    if isinstance(own, dict):
        given |= {name: own[name] for name in NORMALISING if name in own}
    elif whole:
        given |= _PLAIN
    elif scaling is not None:
        given |= _PLAIN if scaling else _UNIT
    elif "names" in metadata and "stride" in metadata:  # as Ultralytics writes them
        given |= _UNIT
    try:
        return usual.changed(**given)
    except (ConfigError, TypeError) as error:
        raise ModelError(f"the network's input cannot be made: {error}") from error


def _own_scaling(nodes: Sequence[Node], constants: dict[str, Host], value: str) -> bool | None:
    """Return True where the graph first normalises 0..255, False: 0..1; None: it does not.

    The means and divisors tell which: those of 0..1 are not above 1.
    """
    largest: float | None = None
    for _ in range(6):
        readers = [n for n in nodes if value in n.inputs]
        if len(readers) != 1:
            break
        node = readers[0]
        if node.operator in ("Sub", "Div", "Mul", "Add"):
            others = [_constant_of(name, nodes, constants) for name in node.inputs if name != value]
            if len(others) != 1 or others[0] is None or others[0].size not in (1, 3):
                break
            amount = float(abs(others[0]).max())
            if node.operator == "Mul":
                amount = 1 / amount if amount else 0.0
            largest = max(largest or 0.0, amount)
        elif node.operator not in ("Transpose", "Cast", "Identity"):
            break
        value = node.outputs[0]
    return None if largest is None else largest > 1.5


def _constant_of(name: str, nodes: Sequence[Node], constants: dict[str, Host]) -> Host | None:
    if name in constants:
        return constants[name]
    maker = next((n for n in nodes if name in n.outputs), None)
    if maker is not None and maker.operator == "Constant":
        made = maker.get("value")
        return made if hasattr(made, "size") else None
    return None


def _labels(proto: onnx.ModelProto) -> tuple[str, ...] | None:
    """Return class names that the metadata holds: a mapping or list, as Ultralytics writes it."""
    for entry in proto.metadata_props:
        if entry.key in ("names", "labels", "classes", "class_names"):
            value = _literal(entry.value)
            if isinstance(value, dict) and sorted(value) == list(range(len(value))):
                return tuple(str(value[place]) for place in range(len(value)))
            if isinstance(value, list) and all(isinstance(v, str) for v in value):
                return tuple(value)
    return None


def _literal(text: str) -> Any:
    """Return what a text stands for in JSON or Python's literals, else None."""
    if len(text) > 1 << 20:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return {int(k) if str(k).isdecimal() else k: v for k, v in value.items()}
        return value
    return None
