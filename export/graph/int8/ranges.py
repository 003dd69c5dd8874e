"""Ranges of a folded graph's tensors over frames, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, ValueInfoProto, numpy_helper

from edge_tta.prepare import Images
from export.graph.int8.sites import is_mean, places_in, variable_at
from export.session import session_of

Array = npt.NDArray[Any]

CODES_PASS = {"MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
"""Operators that do the same with codes as with values."""

ACTIVATIONS = {"Relu", "Clip"}
"""Operators that may end where codes end."""

_READ = {"Conv", "Gemm", "Add", *CODES_PASS}
_MADE = {"Conv", "Add", *ACTIVATIONS}


Ranges = Mapping[str, tuple[float, float]]
"""Smallest and largest value of each tensor, 0 between them."""


def ranges_of(graph: ModelProto, vectors: Mapping[str, Array], frames: Sequence[Images]) -> Ranges:
    """Return what the tensors of a graph are over frames.

    Args:
        graph: folded or measuring, its weights in it.
        vectors: of a state, as `edge_tta.bundle.folding.FoldedSession.fold` takes them.
        frames: images (1, channels, H, W), at least one.
    """
    at_state = _at_state(graph, vectors)
    wanted = _coded(graph)
    # Without a type: onnxruntime knows it.
    at_state.graph.output.extend(ValueInfoProto(name=name) for name in wanted)
    session = session_of(at_state.SerializeToString())
    ranges: dict[str, tuple[float, float]] = {}
    for frame in frames:
        values = dict(zip(wanted, session.run(wanted, {"images": frame}), strict=True))
        for name, value in {**values, "images": frame}.items():
            if value.dtype != np.float32:
                continue
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    return ranges


def _at_state(graph: ModelProto, vectors: Mapping[str, Array]) -> ModelProto:
    """Return the graph with a state in its weights."""
    changed, places = ModelProto(), places_in(graph)
    changed.CopyFrom(graph)
    constants = {tensor.name: tensor for tensor in changed.graph.initializer}
    for node in changed.graph.node:
        variable = variable_at(node)
        if variable is None:
            continue
        place, kind = places[variable.site], variable.kind
        if kind != "centre":
            weight = numpy_helper.to_array(constants[node.input[1]])
            scale = vectors["scale"][place].reshape(-1, *[1] * (weight.ndim - 1))
            weight = (weight * scale).astype(np.float32)
            constants[node.input[1]].CopyFrom(numpy_helper.from_array(weight, node.input[1]))
        bias = np.asarray(vectors[kind][place], np.float32)
        constants[node.input[2]].CopyFrom(numpy_helper.from_array(bias, node.input[2]))
    return changed


def _coded(graph: ModelProto) -> list[str]:
    """Return the names of tensors that may have codes, but for the images."""
    nodes = [node for node in graph.graph.node if not is_mean(node)]
    read = {name for node in nodes if node.op_type in _READ for name in node.input[:2]}
    made = {node.output[0] for node in nodes if node.op_type in _MADE}
    known = {tensor.name for tensor in graph.graph.initializer}
    known |= {output.name for output in graph.graph.output}
    return sorted((read | made) - known - {"images", ""})
