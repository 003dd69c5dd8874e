"""ONNX files made for tests."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge_tta.bundle.runtime import quiet_runtime

Array = npt.NDArray[Any]


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node of inputs and outputs separated by blanks; its name is its first output's."""
    outputs = output.split()
    given = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, given, outputs, name=f"node_{outputs[0]}", **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array] | None = None,
    *,
    shape: Sequence[int | str] = ("n", 3, 8, 8),
    opset: int = 13,
    kind: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)
    if metadata:
        helper.set_model_props(made, dict(metadata))
    return made


def written(path: Path, proto: onnx.ModelProto) -> Path:
    """Write a model; return its path."""
    path.write_bytes(proto.SerializeToString())
    return path


def exported(module: nn.Module, path: Path, size: int = 12, **options: Any) -> Path:
    """Export a module by PyTorch, which folds BatchNorm into the convolution before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.randn(1, 3, size, size),),
            str(path),
            dynamo=False,
            **{"opset_version": 13, "input_names": ["images"], "output_names": ["scores"]}
            | options,
        )
    return path


def by_onnxruntime(path: Path, images: Array) -> list[Array]:
    """Outputs of a file as onnxruntime computes them."""
    runtime = quiet_runtime()
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, {session.get_inputs()[0].name: images})
    return outputs


def images_of(*shape: int, seed: int = 0) -> Array:
    """Random images."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
