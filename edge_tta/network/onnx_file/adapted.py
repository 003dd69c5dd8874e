"""An ONNX file's graph with adapted weights: same nodes, names, opset and metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edge_tta.network.onnx_file.loading import load_proto
from edge_tta.network.onnx_file.network import BEFORE, OnnxNetwork
from edge_tta.network.onnx_file.nodes import Node

Array = npt.NDArray[Any]


class Adapted(NamedTuple):
    """A file's graph with adapted weights, and these by their names in it."""

    model: onnx.ModelProto
    weights: dict[str, Array]


def adapted_file(folded: nn.Module, source: Path) -> Adapted:
    """Return the graph of a file with the weights of its network as it is adapted.

    Restored BatchNorms are folded into the weights before them again.

    Args:
        folded: what `Adapter.folded` of an adapter of `source` returns.

    Raises:
        ModelError: weights that are quantised or computed in the graph.
    """
    assert isinstance(folded, OnnxNetwork)
    proto = load_proto(source)
    graph = _Graph(proto)
    for node, behind in zip(folded.nodes, [*folded.nodes[1:], None], strict=True):
        if node.outputs[0].endswith(BEFORE):
            assert behind is not None
            graph.put(node, _weights(folded, node, behind))
        elif node.operator == "BatchNormalization" and not node.inputs[0].endswith(BEFORE):
            norm = getattr(folded, folded.layer_names[node.outputs[0]]).layer
            parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            graph.put(node, [part.detach().numpy() for part in parts])
    for name, value in folded.constants():
        graph.change(name, value)
    return Adapted(proto, graph.adapted)


class _Graph:
    """Constants of a file's graph, to be replaced."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._graph = proto.graph
        self._nodes = {node.output[0]: node for node in proto.graph.node}
        self._constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self.adapted: dict[str, Array] = {}
        self._readers: dict[str, int] = {}
        for node in proto.graph.node:
            for name in node.input:
                self._readers[name] = self._readers.get(name, 0) + 1

    def put(self, node: Node, values: list[Array]) -> None:
        """Give a node these values for its inputs from the second on."""
        given = self._nodes[node.outputs[0].removesuffix(BEFORE)]
        if node.operator == "Gemm":
            values = _as_gemm(given, values)
        usual = self._type_of(given.input[1], np.dtype(np.float32))
        for place, value in enumerate(values, 1):
            name = given.input[place] if len(given.input) > place else ""
            self._check(node, name)
            old = self._constants.get(name)
            own = value.astype(self._type_of(name, usual))
            if old is not None and self._readers[name] == 1:
                old.CopyFrom(numpy_helper.from_array(own, name))
                self.adapted[name] = own
                continue
            new = f"{name or given.output[0] + '_bias'}_adapted_{len(self._constants)}"
            tensor = numpy_helper.from_array(own, new)
            self.adapted[new] = own
            self._graph.initializer.append(tensor)
            self._constants[new] = tensor
            if len(given.input) > place:
                given.input[place] = new
            else:
                given.input.append(new)

    def change(self, name: str, value: Array) -> None:
        """Give a constant another value, for all that read it, if it has another."""
        held = self._held(name)
        if held is None:
            return
        old = numpy_helper.to_array(held)
        if not np.array_equal(old.astype(np.float32), value):
            self.adapted[name] = value.astype(old.dtype)
            held.CopyFrom(numpy_helper.from_array(self.adapted[name], held.name))

    def _held(self, name: str) -> onnx.TensorProto | None:
        """Return where a constant is kept: an initializer, or a node's value."""
        maker = self._nodes.get(name)
        if maker is not None and maker.op_type == "Constant":
            return next((a.t for a in maker.attribute if a.name == "value"), None)
        return self._constants.get(name)

    def _type_of(self, name: str, usual: np.dtype[Any]) -> np.dtype[Any]:
        held = self._held(name)
        return usual if held is None else helper.tensor_dtype_to_np_dtype(held.data_type)

    def _check(self, node: Node, name: str) -> None:
        maker = self._nodes.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            raise node.error(
                "has quantised weights, which adapted ones do not fit; export a bundle, or fold "
                "into the float file that it was quantised from"
            )


def _weights(folded: OnnxNetwork, node: Node, behind: Node) -> list[Array]:
    """Return weight and bias of a linear map with the BatchNorm behind it, as PyTorch has them."""
    linear = getattr(folded, folded.layer_names[node.outputs[0]]).layer
    norm = getattr(folded, folded.layer_names[behind.outputs[0]])
    transposed = isinstance(linear, nn.modules.conv._ConvTransposeNd)
    groups = getattr(linear, "groups", 1)
    weight = linear.weight.detach().double()
    if transposed and groups > 1:  # (groups x in, out, ...) -> (in, groups x out, ...)
        parts: tuple[Tensor, ...] = weight.chunk(groups, 0)
        weight = torch.cat(parts, 1)
    bias = None if linear.bias is None else linear.bias.detach().double()
    values = [norm.running_mean, norm.running_var, norm.weight.detach(), norm.bias.detach()]
    mean, variance, scale, shift = (value.double() for value in values)
    fused = fuse_conv_bn_weights(
        weight, bias, mean, variance, norm.eps, scale, shift, transpose=transposed
    )
    one, other = (part.detach() for part in fused)
    if transposed and groups > 1:
        one = torch.cat(one.chunk(groups, 1), 0)
    return [one.numpy(), other.numpy()]


def _as_gemm(given: onnx.NodeProto, values: list[Array]) -> list[Array]:
    """Return a linear layer's weight and bias as a Gemm takes them: before alpha and beta."""
    attributes = {a.name: helper.get_attribute_value(a) for a in given.attribute}
    weight, bias = values
    if not attributes.get("transB", 0):
        weight = weight.T
    return [weight / attributes.get("alpha", 1.0), bias / attributes.get("beta", 1.0)]
