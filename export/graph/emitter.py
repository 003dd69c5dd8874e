"""Builds an ONNX graph node by node. Equal nodes are made once; values carry shape and type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from onnx import ModelProto, NodeProto, TensorProto, helper

from export.graph.weights import WeightFile

OPSET = 18
# Contributed operators of onnxruntime.
MICROSOFT = "com.microsoft"
# The newest that runtimes of that operator set read.
IR_VERSION = 9

Style = Literal["fast", "compact", "plain"]

ONNX_TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float16: TensorProto.FLOAT16,
    torch.int64: TensorProto.INT64,
    torch.int32: TensorProto.INT32,
    torch.int8: TensorProto.INT8,
    torch.uint8: TensorProto.UINT8,
    torch.bool: TensorProto.BOOL,
}


@dataclass(frozen=True)
class Value:
    """A tensor of the graph."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


class Emitter:
    """The graph under construction.

    weights: takes its constants.
    style: how convolutions are said. `fast`: as onnxruntime is fastest, large weights also flipped
        for the backward pass; `compact`: every weight as it is, once; `plain`: as operators that
        other runtimes and optimizers know best.
    """

    def __init__(self, weights: WeightFile, style: Style = "fast") -> None:
        self.style = style
        # While a node is made that repeats another, see `export.graph.repeats`.
        self.repeats = False
        # While a node is made that no state reaches, see `export.graph.convert`.
        self.folds = False
        self._weights = weights
        self._nodes: list[NodeProto] = []
        self._inputs: list[Any] = []
        self._made: dict[Any, Any] = {}
        self._constants: dict[str, torch.Tensor] = {}
        self._count = 0

    def known(self, value: Value | None) -> torch.Tensor | None:
        """The numbers of a constant; None: it depends on the inputs."""
        return None if value is None else self._constants.get(value.name)

    def input(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Value:
        """A graph input."""
        self._inputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[dtype], shape))
        return Value(name, tuple(shape), dtype)

    def constant(self, values: Any, dtype: torch.dtype | None = None) -> Value:
        """An initializer: of a tensor, an array or numbers."""
        tensor = values if isinstance(values, torch.Tensor) else torch.as_tensor(values)
        tensor = tensor.detach().cpu().to(dtype or tensor.dtype).contiguous()
        array = tensor.numpy()
        key = ("constant", str(array.dtype), array.shape, array.tobytes())
        if key not in self._made:
            name = self._name("c")
            self._made[key] = Value(name, tuple(tensor.shape), tensor.dtype)
            self._constants[name] = tensor
        return self._made[key]  # type: ignore[no-any-return]

    def variable(self, name: str, tensor: torch.Tensor) -> Value:
        """An initializer of that name and of its own, however equal to others."""
        key = ("variable", name)
        if key not in self._made:
            self._made[key] = Value(name, tuple(tensor.shape), tensor.dtype)
            self._constants[name] = tensor.detach().cpu().contiguous()
        return self._made[key]  # type: ignore[no-any-return]

    def op(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        shape: Sequence[int],
        dtype: torch.dtype,
        domain: str = "",
        **attributes: Any,
    ) -> Value:
        """One node with one output of that shape and type."""
        return self.ops(kind, inputs, [(tuple(shape), dtype)], domain, **attributes)[0]

    def ops(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[tuple[tuple[int, ...], torch.dtype]],
        domain: str = "",
        **attributes: Any,
    ) -> list[Value]:
        """One node with several outputs."""
        names = ["" if value is None else value.name for value in inputs]
        said = repr(sorted(attributes.items()))
        key = (kind, domain, tuple(names), said, tuple(outputs), self.repeats)
        if key not in self._made:
            made = [Value(self._name(kind.lower()), shape, dtype) for shape, dtype in outputs]
            node = helper.make_node(
                kind, names, [value.name for value in made], domain=domain, **attributes
            )
            self._nodes.append(node)
            self._made[key] = made
        return self._made[key]  # type: ignore[no-any-return]

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        """The value in another type; itself where it has that type."""
        if value.dtype == dtype:
            return value
        return self.op("Cast", [value], value.shape, dtype, to=ONNX_TYPES[dtype])

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in another shape, the same number of elements."""
        if value.shape == tuple(shape):
            return value
        sides = self.constant(list(shape), torch.int64)
        return self.op("Reshape", [value, sides], shape, value.dtype)

    def reshape_constant(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in another shape; a constant stays one."""
        tensor = self.known(value)
        if tensor is None:
            return self.reshape(value, shape)
        return self.constant(tensor.reshape(tuple(shape)))

    def model(self, name: str, outputs: Sequence[tuple[str, Value]]) -> ModelProto:
        """The finished graph, with outputs of these names, dead nodes left out, checked."""
        infos = []
        for label, value in outputs:
            self._nodes.append(helper.make_node("Identity", [value.name], [label]))
            infos.append(helper.make_tensor_value_info(label, ONNX_TYPES[value.dtype], value.shape))
        wanted, needed = {label for label, _ in outputs}, []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                if node.op_type == "MaxPool" and wanted.isdisjoint(node.output[1:]):
                    del node.output[1:]  # where they stood: slow to tell
                needed.append(node)
        # Here, so that the file holds no constant that nothing reads.
        read = {name: tensor for name, tensor in self._constants.items() if name in wanted}
        constants = [self._weights.proto(key, tensor.numpy()) for key, tensor in read.items()]
        graph = helper.make_graph(needed[::-1], name, self._inputs, infos, constants)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(
            graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="edge_tta"
        )

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"
