"""The pass that brings a folded graph into int8, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_tta.bundle.folding import MEAN, SQUARE, VARIABLE
from export.graph.emitter import IR_VERSION, MICROSOFT, OPSET
from export.graph.int8.codes import LEVELS, Codes, codes_of, geometry, whole
from export.graph.int8.ranges import ACTIVATIONS, CODES_PASS, Ranges
from export.graph.int8.sites import Variable, is_mean, places_in, variable_at, variable_of
from export.graph.int8.vectors import MIDDLE, SCALE_IN_UNITS, VECTORS, Vectors
from export.graph.weights import WeightFile

Array = npt.NDArray[Any]


def int8_graph(graph: ModelProto, ranges: Ranges, weights: WeightFile) -> ModelProto:
    """Return a folded or measuring graph in int8.

    Args:
        graph: its weights in it.
        ranges: of `ranges_of`, of the same graph.
        weights: takes the constants.
    """
    return _Quantising(graph, ranges).model(weights)


class _Quantising:
    """One pass. A tensor of the graph before has codes, float32 values under its name, or both."""

    def __init__(self, graph: ModelProto, ranges: Ranges) -> None:
        self._graph, self._ranges = graph.graph, ranges
        self._before: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer
        }
        self._readers: dict[str, list[NodeProto]] = {}
        for node in graph.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._results = {output.name for output in graph.graph.output}
        self._channels = places_in(graph)
        self._vectors = Vectors(self._channels, self._constant)
        self._constants: dict[str, Array] = {}
        self._nodes: list[NodeProto] = []
        self._codes: dict[str, Codes] = {}
        self._floats = {"images"}
        self._taken_up: set[str] = set()  # activations within the operator in front
        self._in_units: set[str] = set()

    def model(self, weights: WeightFile) -> ModelProto:
        """Return the graph; `weights` takes its constants."""
        for node in self._graph.node:
            if node.output[0] not in self._taken_up:
                self._take(node)
        nodes = [*self._vectors.nodes(), *self._nodes]
        read = {name for node in nodes for name in node.input}
        channels = max(place.stop for place in self._channels.values())
        vectors = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [channels])
            for name in VECTORS
            if name in read
        ]
        constants = [weights.proto(k, v) for k, v in self._constants.items() if k in read]
        inputs, outputs = [*self._graph.input, *vectors], list(self._graph.output)
        made = helper.make_graph(nodes, self._graph.name, inputs, outputs, constants)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(
            made, opset_imports=imports, ir_version=IR_VERSION, producer_name="edge_tta"
        )

    def _take(self, node: NodeProto) -> None:
        """Add what stands for a node."""
        if node.op_type == "Conv" and node.input[1] in self._before:
            variable = variable_at(node)
            if variable is not None and self._is_channelwise(node):
                self._channelwise(node, variable)
            elif variable is not None and variable.kind == "centre":
                self._measured(node, variable)
            elif is_mean(node):  # stays float32
                self._plain(node)
            else:
                self._convolution(node, variable)
        elif node.op_type == "Gemm" and self._is_layer(node):
            self._layer(node)
        elif node.op_type == "Add" and self._is_addition(node):
            self._addition(node)
        elif node.op_type in CODES_PASS and node.input[0] in self._codes:
            self._passing(node)
        elif node.output[0] in (MEAN, SQUARE):
            self._moments(node)
        else:
            self._plain(node)

    def _convolution(self, node: NodeProto, variable: Variable | None) -> None:
        """Codes to codes; an activation behind is where the codes end."""
        end = self._end(node)
        a, y = self._coded(node.input[0]), self._codes_for(end)
        code, steps = self._weight(node.input[1])
        if variable is None:
            bias = self._before[node.input[2]] if len(node.input) > 2 else np.zeros(len(steps))
            scale = self._constant(f"{end}.weight_scale", steps)
            shift = self._constant(f"{end}.bias", whole(bias / (a.step * steps)))
        else:
            shift = self._vectors.requantised("bias", variable.site, steps, a.step)
            scale = self._vectors.scale_of(variable.site)
        inputs = [*a[:3], code, scale, self._zero_weight(), y.scale, y.zero, shift]
        self._add("QLinearConv", inputs, y.codes, **geometry(node))
        self._codes[end] = y

    def _measured(self, node: NodeProto, variable: Variable) -> None:
        """u of a convolution in units of its channels, float32, by codes."""
        name, a = node.output[0], self._coded(node.input[0])
        code, steps = self._weight(node.input[1])
        units = self._vectors.units(variable.site)
        own = self._constant(f"{name}.weight_steps", steps)
        inputs = [
            *a[:3],
            code,
            self._add("Div", [own, units], f"{name}.weight_scale"),
            self._zero_weight(),
            self._constant("one", np.array(1, np.float32)),
            self._constant("middle", np.array(MIDDLE, np.uint8)),
            self._vectors.requantised("centre", variable.site, steps, a.step),
        ]
        codes = self._add("QLinearConv", inputs, f"{name}.codes", **geometry(node))
        # Not dequantised: onnxruntime would do that again for each that reads it.
        value = self._add("Cast", [codes], f"{name}.float", to=TensorProto.FLOAT)
        middle = self._constant("middle.float", np.array(MIDDLE, np.float32))
        self._add("Sub", [value, middle], name)
        self._floats.add(name)
        self._in_units.add(name)

    def _channelwise(self, node: NodeProto, variable: Variable) -> None:
        """Each channel's values times its number plus another, in float32."""
        name, axes = node.output[0], self._before[node.input[1]].ndim - 2
        value = self._float(node.input[0])
        if variable.kind == "centre":  # at some of the positions
            ones = self._constant(f"{name}.ones", self._before[node.input[1]])
            value = self._add("Conv", [value, ones], f"{name}.sampled", **geometry(node))
        else:
            in_units = node.input[0] in self._in_units
            factor = self._vectors.part(
                SCALE_IN_UNITS if in_units else "scale", variable.site, axes
            )
            value = self._add("Mul", [value, factor], f"{name}.scaled")
        self._add("Add", [value, self._vectors.part(variable.kind, variable.site, axes)], name)
        self._floats.add(name)

    def _layer(self, node: NodeProto) -> None:
        """A layer of all features: codes to float32."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        a, weight = self._coded(node.input[0]), self._before[node.input[1]]
        code, steps = codes_of(weight if attributes.get("transB") else weight.T)
        bias = self._before[node.input[2]]
        name = node.output[0]
        inputs = [
            *a[:3],
            self._constant(f"{node.input[1]}.codes", np.ascontiguousarray(code.T)),
            self._constant(f"{name}.weight_scale", steps),
            self._constant(f"{name}.weight_zero", np.zeros(len(steps), np.int8)),
            self._constant(f"{name}.bias", whole(bias / (a.step * steps))),
        ]
        self._add("QGemm", inputs, name, MICROSOFT)
        self._floats.add(name)

    def _addition(self, node: NodeProto) -> None:
        """Codes and codes to codes."""
        end = self._end(node)
        (a, b), y = (self._codes[name] for name in node.input), self._codes_for(end)
        self._add("QLinearAdd", [*a[:3], *b[:3], y.scale, y.zero], y.codes, MICROSOFT)
        self._codes[end] = y

    def _passing(self, node: NodeProto) -> None:
        """The same of codes as of values."""
        a, name = self._codes[node.input[0]], node.output[0]
        self._copy(node, [a.codes, *node.input[1:]], f"{name}.codes")
        self._codes[name] = a._replace(codes=f"{name}.codes")
        if name in self._results:
            self._float(name)

    def _moments(self, node: NodeProto) -> None:
        """Means of all sites, (C,), out of their channels' units."""
        name = str(node.output[0])
        self._copy(node, node.input, f"{name}.in_units")
        units = self._vectors.all_units(squared=name == SQUARE)
        self._add("Mul", [f"{name}.in_units", units], name)

    def _plain(self, node: NodeProto) -> None:
        """The node itself, in float32."""
        inputs = [self._float(name) if name in self._codes else name for name in node.input]
        self._copy(node, inputs, node.output[0])
        self._floats.update(node.output)

    def _copy(self, node: NodeProto, inputs: Sequence[str], output: str) -> None:
        """Add a node with other inputs and another first output."""
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:], copy.output[0] = inputs, output
        self._nodes.append(copy)
        self._constants |= {name: self._before[name] for name in inputs if name in self._before}

    def _coded(self, name: str) -> Codes:
        """Return the codes of a tensor, of its values where it has none."""
        if name not in self._codes:
            codes = self._codes_for(name)
            self._add("QuantizeLinear", [name, codes.scale, codes.zero], codes.codes)
            self._codes[name] = codes
        return self._codes[name]

    def _float(self, name: str) -> str:
        """Return the tensor itself, of its codes where there is nothing else."""
        if name in self._codes and name not in self._floats:
            self._add("DequantizeLinear", self._codes[name][:3], name)
            self._floats.add(name)
        return name

    def _codes_for(self, name: str) -> Codes:
        """Return names for codes of a tensor, with scale and zero by its range."""
        low, high = self._ranges[name]
        # Where all was 0, that is what a code of 0 says; a bias behind it still counts in steps.
        step = (high - low) / LEVELS or 1.0
        zero = np.array(np.clip(round(-low / step), 0, LEVELS), np.uint8)
        return Codes(
            f"{name}.codes",
            self._constant(f"{name}.scale", np.array(step, np.float32)),
            self._constant(f"{name}.zero", zero),
            step,
        )

    def _end(self, node: NodeProto) -> str:
        """Return the name of what a node's codes are of: of an activation that alone reads it."""
        name = str(node.output[0])
        readers = self._readers.get(name, [])
        if name in self._results or len(readers) != 1 or not self._ends_codes(readers[0]):
            return name
        behind = str(readers[0].output[0])
        self._taken_up.add(behind)
        return behind

    def _ends_codes(self, node: NodeProto) -> bool:
        """Tell whether a node is an activation from 0 on: codes of its range begin there too."""
        if node.op_type != "Clip":
            return node.op_type in ACTIVATIONS
        low = self._before.get(node.input[1]) if len(node.input) > 1 else None
        return low is not None and float(low) == 0

    def _is_layer(self, node: NodeProto) -> bool:
        """Tell whether a product is of features, which have a range, and a constant matrix."""
        known = all(name in self._before for name in node.input[1:3]) and len(node.input) == 3
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = given.get("alpha", 1) == 1 == given.get("beta", 1) and not given.get("transA")
        return bool(known and plain and node.input[0] in self._ranges)

    def _is_channelwise(self, node: NodeProto) -> bool:
        """Tell whether a convolution takes each channel's values as they are, at some positions."""
        weight = self._before[node.input[1]]
        alone = weight[0].size == 1 and geometry(node)["group"] == len(weight)
        return bool(alone and (weight == 1).all())

    def _is_addition(self, node: NodeProto) -> bool:
        """Tell whether both sides have codes, and the sum a range."""
        return all(name in self._codes for name in node.input) and node.output[0] in self._ranges

    def _weight(self, name: str) -> tuple[str, Array]:
        """Return the name of a weight's codes, which kinds of a site share, and its scales."""
        code, steps = codes_of(self._before[name])
        variable = variable_of(name)
        shared = name if variable is None else f"{VARIABLE}{variable.site}"
        return self._constant(f"{shared}.codes", code), steps

    def _zero_weight(self) -> str:
        return self._constant("weight_zero", np.array(0, np.int8))

    def _constant(self, name: str, values: Array) -> str:
        self._constants.setdefault(name, values)
        return name

    def _add(
        self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any
    ) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output
