"""A traced graph as an ONNX model: constants folded, everything else by the table."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from onnx import ModelProto
from torch import Tensor, fx

from edge_tta import nest
from edge_tta.bundle.folding import VARIABLE
from edge_tta.errors import ModelError
from export.graph.emitter import Emitter, Style, Value
from export.graph.operators import OPERATORS
from export.graph.repeats import REPEATED
from export.graph.trace import Traced
from export.graph.weights import WeightFile

aten = torch.ops.aten

# Their values do not matter to the graph: only shape and type are read.
_LIKE = {
    getattr(aten, name).default
    for name in (
        *("full_like", "zeros_like", "ones_like", "empty_like"),
        *("new_full", "new_zeros", "new_ones", "new_empty"),
    )
}
# What memory happened to hold would differ from export to export.
_EMPTY = {aten.new_empty.default, aten.empty_like.default, aten.empty.memory_format}


def refuse_unsupported(traced: Traced, host: str = "norm") -> None:
    """Names what has no ONNX form here. host: whose loss is in the graph; norm: none's.

    Raises:
        ModelError: with every operator and how often it occurs.
    """
    missing = Counter(
        str(node.target)
        for node in traced.module.graph.nodes
        if node.op == "call_function"
        and node.target is not operator.getitem
        and node.target not in OPERATORS
    )
    if missing:
        names = ", ".join(f"{name} ({times})" for name, times in sorted(missing.items()))
        user = "the network" if host == "norm" else f"the network or the host {host}"
        raise ModelError(
            f"{user} uses operators that exports do not hold: {names}; write it with others, or "
            "run the model itself: edge-tta run SOURCE --model MODEL"
        )


def convert(traced: Traced, weights: WeightFile, name: str, style: Style = "fast") -> ModelProto:
    """Return the ONNX model; its constants go to `weights`. style: as in `Emitter`.

    Raises:
        ModelError: an operator, or a use of one, that has no ONNX form here.
    """
    return _Conversion(traced, Emitter(weights, style)).run(name)


class _Conversion:
    """One pass over the graph. A node is known as a tensor (constant) or as a value.

    Values that the images alone decide are those of a folded network: onnxruntime is to make of
    their operators what it makes of any network.
    """

    def __init__(self, traced: Traced, emitter: Emitter) -> None:
        self._traced, self._emitter = traced, emitter
        self._known: dict[fx.Node, Any] = {}
        self._reached: set[fx.Node] = set()  # by a state

    def run(self, name: str) -> ModelProto:
        module, inputs = self._traced.module, iter(self._traced.inputs)
        outputs: list[Any] = []
        for node in module.graph.nodes:
            if node.op == "placeholder":
                example = node.meta["val"]
                label = next(inputs)
                self._known[node] = self._emitter.input(label, example.shape, example.dtype)
                if label != "images":
                    self._reached.add(node)
            elif node.op == "get_attr":
                name, tensor = str(node.target), getattr(module, str(node.target))
                variable = name.startswith(VARIABLE)
                self._known[node] = self._emitter.variable(name, tensor) if variable else tensor
            elif node.op == "output":
                outputs = [self._value(item) for item in node.args[0]]
            elif node.users:
                self._known[node] = self._call(node)
        # What only passes through is the caller's to keep.
        changed = [
            (label, value)
            for label, value in zip(self._traced.outputs, outputs, strict=True)
            if value.name not in self._traced.inputs
        ]
        return self._emitter.model(name, changed)

    def _call(self, node: fx.Node) -> Any:
        target: Any = node.target
        if not self._reached.isdisjoint(node.all_input_nodes):
            self._reached.add(node)
        args: Any = fx.map_arg(node.args, lambda n: self._known[n])
        kwargs: Any = fx.map_arg(node.kwargs, lambda n: self._known[n])
        if target is operator.getitem:
            return args[0][args[1]]
        if target in _LIKE and isinstance(args[0], Value):
            args = (torch.empty(args[0].shape, dtype=args[0].dtype), *args[1:])
        if target is aten._efficientzerotensor.default:  # holds no memory that could be read
            return torch.zeros(*args, **kwargs)
        if not any(isinstance(item, Value) for item in nest.leaves((args, kwargs))):
            value = target(*args, **kwargs)
            return value.zero_() if target in _EMPTY else value
        function = OPERATORS.get(target)
        if function is None:
            raise ModelError(f"{target} has no ONNX form here; use --backend torch")
        self._emitter.folds = node not in self._reached
        self._emitter.repeats = REPEATED in node.meta
        values = [self._as_argument(item) for item in args]
        options = {key: self._as_argument(item) for key, item in kwargs.items()}
        try:
            return function(self._emitter, _outputs(node), *values, **options)
        except NotImplementedError as error:
            raise ModelError(
                f"bundles do not hold {error}, which the network uses ({target}); run it "
                "with --backend torch"
            ) from error

    def _as_argument(self, item: Any) -> Any:
        """Tensors as constants, in lists too."""
        if isinstance(item, (list, tuple)):
            return type(item)(self._as_argument(part) for part in item)
        return self._value(item) if isinstance(item, Tensor) else item

    def _value(self, item: Any) -> Any:
        if isinstance(item, fx.Node):
            item = self._known[item]
        return self._emitter.constant(item) if isinstance(item, Tensor) else item


def _outputs(node: fx.Node) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shapes and types; of outputs that do not exist, none."""
    value = node.meta["val"]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [((), torch.float32) if v is None else (tuple(v.shape), v.dtype) for v in values]
