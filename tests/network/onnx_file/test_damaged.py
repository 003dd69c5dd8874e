"""Files that are damaged, absurd or malicious end in one line, before anything large is made."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_tta.errors import EdgeTTAError, ModelError
from edge_tta.network.onnx_file import read_file
from tests.network.onnx_file.graphs import images_of, model, node, written

WEIGHT = {"w": images_of(4, 3, 3, 3)}
GOOD = model([node("Conv", "x w", "c"), node("Relu", "c", "y")], WEIGHT)


def run(path: Path, shape: tuple[int, ...] = (1, 3, 8, 8)) -> None:
    with torch.no_grad():
        read_file(path).module(torch.zeros(shape))


def with_external(location: str, **more: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    proto.CopyFrom(GOOD)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return proto


def cyclic() -> onnx.ModelProto:
    return model([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")])


def recursive() -> onnx.ModelProto:
    body = [helper.make_node("Again", ["a"], ["b"], domain="local")]
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("local", 1)]
    function = helper.make_function("local", "Again", ["a"], ["b"], body, opsets)
    nodes = [helper.make_node("Again", ["x"], ["y"], domain="local")]
    return model(nodes, functions=[function])


def with_shape(kind: str, *sides: int) -> onnx.ModelProto:
    second = {"t": np.array(sides, np.int64)}
    if kind == "ConstantOfShape":
        return model([node(kind, "t", "c"), node("Add", "x c", "y")], second)
    return model([node(kind, "x t", "y")], second)


def claiming() -> onnx.ModelProto:
    proto = onnx.ModelProto()
    proto.CopyFrom(GOOD)
    proto.graph.initializer[0].dims[0] = 1 << 40
    return proto


def huge_range() -> onnx.ModelProto:
    limits = {"a": np.int64(0), "b": np.int64(1 << 40), "c": np.int64(1)}
    return model([node("Range", "a b c", "r"), node("Add", "x r", "y")], limits)


def of_no_type() -> onnx.ModelProto:
    proto = onnx.ModelProto()
    proto.CopyFrom(GOOD)
    proto.graph.input[0].type.tensor_type.elem_type = 0
    return proto


def outer_sum() -> onnx.ModelProto:
    nodes = [node("Reshape", "x f", "a"), node("Transpose", "a", "b"), node("Add", "a b", "y")]
    return model(nodes, {"f": np.array([-1, 1], np.int64)}, shape=("n", 3, 400, 400))


ABSURD: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "input without a type": (of_no_type, "the input 'x' has element type 0, which is none of ONNX"),
    "cycle": (cyclic, r"Add node 'node_a' reads 'b', which no node before it makes"),
    "function that calls itself": (recursive, "call one another in a circle"),
    "constant beyond memory": (lambda: with_shape("ConstantOfShape", 1 << 30, 1 << 30), "memory"),
    "expansion beyond memory": (lambda: with_shape("Expand", 1 << 20, 3, 1 << 20, 1), "memory"),
    "tiles beyond memory": (lambda: with_shape("Tile", 1, 1, 1 << 20, 1 << 20), "memory"),
    "negative tiles": (lambda: with_shape("Tile", 1, 1, -4, 2), "Tile node"),
    "range beyond memory": (huge_range, "Range node 'node_r' counts from 0"),
    "padding beyond memory": (lambda: with_shape("Pad", *[0] * 6, 1 << 40, 0), "pads by"),
    "sum beyond memory": (outer_sum, "Add node 'node_y' makes a tensor of shape"),
    "initializer that claims more": (claiming, "initializer 'w' is damaged"),
    "reshape that does not fit": (
        lambda: with_shape("Reshape", 1, 7),
        "Reshape node 'node_y' fails",
    ),
    "old opset": (lambda: model([node("Relu", "x", "y")], opset=7), "opset 7; expected 11"),
    "future opset": (lambda: model([node("Relu", "x", "y")], opset=99), "opset 99"),
    "no such output": (lambda: model([node("Relu", "x", "z")]), "no node makes .* 'y'"),
    "outside the folder": (lambda: with_external("../secret.bin"), "outside its folder"),
    "absolute path": (lambda: with_external("/etc/hostname"), "outside its folder"),
    "no such data": (lambda: with_external("gone.bin"), "cannot be read"),
    "data that is short": (lambda: with_external("net.onnx", length="99999999"), "99999999 are"),
    "negative offset": (lambda: with_external("net.onnx", offset="-4"), "cannot be read"),
    "two inputs": (lambda: _with_input("other"), "has 2 inputs"),
    "five channels": (lambda: model([node("Relu", "x", "y")], shape=(1, 5, 8, 8)), "5 channels"),
    "three axes": (lambda: model([node("Relu", "x", "y")], shape=(1, 5, 8)), "has 3 axes"),
    "giant input": (lambda: model([node("Relu", "x", "y")], shape=(1, 3, 1 << 40, 8)), "size"),
}


def _with_input(name: str) -> onnx.ModelProto:
    proto = model([node("Add", f"x {name}", "y")])
    proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]))
    return proto


@pytest.mark.parametrize("name", ABSURD)
def test_it_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, words = ABSURD[name]
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    path = written(tmp_path / "model" / "net.onnx", make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shape = (1, 3, 400, 400) if name == "sum beyond memory" else (1, 3, 8, 8)
    with pytest.raises(ModelError, match=words) as caught:
        run(path, shape)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    (tmp_path / "model" / "weights.bin").symlink_to(tmp_path / "secret.bin")
    path = written(tmp_path / "model" / "net.onnx", with_external("weights.bin"))
    with pytest.raises(ModelError, match="outside its folder"):
        read_file(path)


@pytest.mark.parametrize("length", [0, 1, 7, 40, 120, 300])
def test_a_truncated_file_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(GOOD.SerializeToString()[:length])
    with pytest.raises(ModelError, match=r"no ONNX file|holds no graph|damaged|no node|inputs"):
        read_file(path)


def test_a_missing_file_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        read_file(tmp_path / "net.onnx")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_changed_bytes_end_in_an_answer_or_in_one_line(
    changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(GOOD.SerializeToString())
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("fuzz") / "net.onnx"
    path.write_bytes(data)
    said = ""
    try:
        run(path)
    except EdgeTTAError as error:
        said = str(error)
    assert "\n" not in said
