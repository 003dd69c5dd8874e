"""An ONNX graph as an `nn.Module`: its nodes in order, each a function or a layer."""

from __future__ import annotations

import copy
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edge_tta.errors import EdgeTTAError, ModelError
from edge_tta.network.exporting import first_line
from edge_tta.network.onnx_file import operators as _fill_the_table  # noqa: F401
from edge_tta.network.onnx_file.nodes import Host, Node, Value, operator_of
from edge_tta.network.onnx_file.operators.shapes import MOST_ELEMENTS

BEFORE = "::before"
"""Ending of the name of a node's output behind which a layer was inserted."""


class OnnxNetwork(nn.Module):
    """A network of an ONNX file: images (N, channels, H, W) -> its outputs, for any N.

    Args:
        nodes: in order, each after what it reads.
        constants: values of the file, by name.
        input_name, output_names: of the graph.
        channels_last: the file takes images (N, H, W, channels).

    Attributes:
        nodes: those that the images pass through; what is constant is computed already.
        layer_names: by node's first output, the submodule that holds its parameters.

    Raises:
        ModelError: an operator that cannot be read, named with its node.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        constants: Mapping[str, Host],
        input_name: str,
        output_names: Sequence[str],
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.input_name, self.output_names = input_name, tuple(output_names)
        self.channels_last = channels_last
        self.nodes: list[Node] = []
        self.layer_names: dict[str, str] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._hosts: dict[str, Host] = {}
        self._buffer_names: dict[str, str] = {}
        self._used: Counter[str] = Counter()
        self._checked: set[tuple[int, ...]] = set()
        self._build(_reaching(nodes, output_names), dict(constants))
        self.eval()

    def forward(self, images: Tensor) -> Any:
        """Return the graph's output, or a tuple of them where it has several.

        Raises:
            ModelError: a node fails, or makes more than memory holds, which is told before
                anything of that size is made.
        """
        if type(images) is Tensor:
            self.check_shape(tuple(images.shape[1:]))
        outputs = self.values(images)
        made = [outputs[name] for name in self.output_names]
        return made[0] if len(made) == 1 else tuple(made)

    def check_shape(self, image_shape: tuple[int, ...]) -> None:
        """Refuse an image's shape that the network does not take; once for each shape.

        Raises:
            ModelError: as of `forward`.
        """
        if image_shape not in self._checked:
            check_sizes(self, image_shape)
            self._checked.add(image_shape)

    def values(
        self, images: Tensor, watch: Callable[[Node, Value], None] | None = None
    ) -> dict[str, Value]:
        """Return values by name, those that are still needed at the end.

        watch: is given each node and its first output.

        Raises:
            ModelError: a node fails, which is named.
        """
        first = images.permute(0, 2, 3, 1) if self.channels_last else images
        known: dict[str, Value] = {self.input_name: first, **self._hosts}
        known |= {name: getattr(self, buffer) for name, buffer in self._buffer_names.items()}
        for node, spent in zip(self.nodes, self._spent, strict=True):
            given = [known.get(name) if name else None for name in node.inputs]
            function = self._function(node)
            try:
                made = function(*given)
            except EdgeTTAError:
                raise
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
                raise node.error(
                    f"fails: {first_line(error)}; expected the shapes of its export"
                ) from error
            results = made if isinstance(made, tuple) else (made,)
            known.update(zip(node.outputs, results, strict=False))
            if watch is not None:
                watch(node, results[0])
            for name in spent:
                known.pop(name, None)
        return known

    def constants(self) -> list[tuple[str, Host]]:
        """Return constants that are computed with, by their names in the file."""
        names = self._buffer_names.items()
        return [(name, getattr(self, buffer).detach().cpu().numpy()) for name, buffer in names]

    def insert_behind(self, node: Node, layer: nn.Module, operator: str) -> str:
        """Put a layer behind a node's output, in front of all that reads it; return its name."""
        output = node.outputs[0]
        inner = output + BEFORE
        place = self.nodes.index(node)
        self.nodes[place] = _renamed(node, output, inner)
        self._functions.pop(output, None)
        name = self.layer_names.pop(output, None)
        if name is not None:
            self.layer_names[inner] = name
        added = Node(operator, f"{node.name or output} {operator}", (inner,), (output,))
        self.nodes.insert(place + 1, added)
        module_name = self._add_layer(added, layer)
        self._spent = self._last_uses()
        return module_name

    def _function(self, node: Node) -> Callable[..., Any]:
        name = self.layer_names.get(node.outputs[0])
        if name is not None:
            return getattr(self, name)  # type: ignore[no-any-return]
        return self._functions[node.outputs[0]]

    def _build(self, nodes: Sequence[Node], constants: dict[str, Host]) -> None:
        live = {self.input_name}
        for node in nodes:
            given = [constants.get(name) if name else None for name in node.inputs]
            function: Callable[..., Any]
            if node.operator == "Constant":
                constants[node.outputs[0]] = _constant(node)
                continue
            if not live.intersection(node.inputs):
                made = _computed(node, operator_of(node)(node, given), given)
                constants.update(zip(node.outputs, made, strict=False))
                continue
            function = operator_of(node)(node, given)
            live.update(node.outputs)
            self.nodes.append(node)
            if isinstance(function, nn.Module):
                self._add_layer(node, function)
            else:
                self._functions[node.outputs[0]] = function
        outside = [name for name in self.output_names if name not in live]
        if outside:
            raise ModelError(f"the output {outside[0]!r} does not depend on the images")
        for node in self.nodes:
            if node.outputs[0] in self.layer_names:
                continue
            for name in node.inputs:
                if name in constants and name not in self._hosts:
                    self._keep(name, constants[name], node)
        self._spent = self._last_uses()

    def _keep(self, name: str, value: Host, reader: Node) -> None:
        """Keep a constant: numbers of shapes and axes as they are, what is computed with moves."""
        if value.dtype.kind != "f" or value.size < 2 or reader.operator in _OF_NUMBERS:
            self._hosts[name] = value
            buffer = self._buffer_names.pop(name, None)
            if buffer is not None:
                delattr(self, buffer)
        elif name not in self._buffer_names:
            buffer = f"constant_{len(self._buffer_names)}"
            self.register_buffer(buffer, torch.from_numpy(np.array(value, np.float32)))
            self._buffer_names[name] = buffer

    def _add_layer(self, node: Node, layer: nn.Module) -> str:
        plain = re.sub(r"\W+", "_", node.name or node.outputs[0]).strip("_") or "layer"
        plain = f"layer_{plain}" if plain[0].isdigit() or hasattr(nn.Module, plain) else plain
        self._used[plain] += 1
        name = plain if self._used[plain] == 1 else f"{plain}_{self._used[plain]}"
        if hasattr(self, name):
            name = f"{name}_layer"
        self.add_module(name, layer)
        self.layer_names[node.outputs[0]] = name
        return name

    def _last_uses(self) -> list[tuple[str, ...]]:
        """Return for each node the values that nothing reads after it."""
        kept = {*self.output_names, *self._hosts, *self._buffer_names}
        spent: list[tuple[str, ...]] = []
        for node in reversed(self.nodes):
            mine = {*node.inputs, *node.outputs} - kept
            kept |= mine
            spent.append(tuple(mine))
        return spent[::-1]

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        """Return a copy whose functions are shared: they hold nothing that changes."""
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        shared = {"_functions": self._functions, "_hosts": self._hosts, "nodes": list(self.nodes)}
        for key, value in vars(self).items():
            other.__dict__[key] = shared[key] if key in shared else copy.deepcopy(value, memo)
        other._functions = dict(self._functions)
        return other


def check_sizes(network: OnnxNetwork, image_shape: tuple[int, ...]) -> None:
    """Go through the network with one image's shapes, without computing anything.

    Raises:
        ModelError: a node fails, or makes a tensor beyond `MOST_ELEMENTS`.
    """

    def watch(node: Node, value: Value) -> None:
        if isinstance(value, Tensor) and math.prod(value.shape) > MOST_ELEMENTS:
            raise node.error(
                f"makes a tensor of shape {tuple(value.shape)}; expected one that fits in memory"
            )

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        network.values(torch.empty((1, *image_shape)), watch)


def _computed(node: Node, function: Callable[..., Any], given: Iterable[Any]) -> tuple[Host, ...]:
    """Return a node's values where all that it reads is constant."""
    arrays = [None if v is None else v for v in given]
    try:
        with torch.no_grad():
            if isinstance(function, nn.Module) or not _takes_arrays(node):
                made = function(*[_as_tensor(v) for v in arrays])
            else:
                made = function(*arrays)
    except EdgeTTAError:
        raise
    except Exception as error:
        raise node.error(
            f"fails on constants: {first_line(error)}; export the network again"
        ) from error
    results = made if isinstance(made, tuple) else (made,)
    return tuple(r.numpy() if isinstance(r, Tensor) else np.asarray(r) for r in results)


def _takes_arrays(node: Node) -> bool:
    return node.operator not in _OF_TENSORS_ALONE


_OF_NUMBERS = {"Resize", "Upsample", "QuantizeLinear", "DequantizeLinear"}
"""Operators of which constant floats are settings, not something to compute with."""
_OF_TENSORS_ALONE = {"Relu", "Sigmoid", "Tanh", "Softmax", "Flatten", "MatMul", "Gemm", "Clip"}


def _as_tensor(value: Host | None) -> Tensor | None:
    if value is None or value.dtype == object:
        return value  # type: ignore[return-value]
    return torch.from_numpy(np.array(value))


def _constant(node: Node) -> Host:
    for name, dtype in (
        ("value", None),
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return np.asarray(node.attributes[name], dtype)
    raise node.error("holds no number; expected value, value_int or value_float")


def _reaching(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    """Return the nodes that the outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(filter(None, node.outputs)):
            wanted.update(filter(None, node.inputs))
            kept.append(node)
    return kept[::-1]


def _renamed(node: Node, old: str, new: str) -> Node:
    outputs = tuple(new if name == old else name for name in node.outputs)
    return Node(node.operator, node.name, node.inputs, outputs, node.attributes, node.opset)
