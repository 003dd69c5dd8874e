"""Every operator computes what onnxruntime computes, with one image and with two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.network.onnx_file import read_file
from edge_tta.network.onnx_file.nodes import OPERATORS
from tests.network.onnx_file.graphs import Array, by_onnxruntime, images_of, model, node, written

RNG = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


POSITIVE = node("Abs", "x", "p")
# Name: (nodes from x to y, constants, opset).
CASES: dict[str, tuple[list[Any], dict[str, Array], int]] = {
    "conv": (
        [node("Conv", "x w b", "y", strides=[2, 1], pads=[1, 0, 1, 0], dilations=[1, 2])],
        {"w": floats(4, 3, 3, 3), "b": floats(4)},
        13,
    ),
    "conv, grouped": ([node("Conv", "x w", "y", group=3)], {"w": floats(6, 1, 3, 3)}, 13),
    "conv, uneven padding": (
        [node("Conv", "x w", "y", pads=[0, 1, 1, 2])],
        {"w": floats(4, 3, 3, 3)},
        13,
    ),
    "conv, same": (
        [node("Conv", "x w", "y", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": floats(4, 3, 3, 3)},
        13,
    ),
    "conv, same lower": (
        [node("Conv", "x w", "y", auto_pad="SAME_LOWER")],
        {"w": floats(4, 3, 2, 2)},
        13,
    ),
    "transposed": (
        [
            node(
                *("ConvTranspose", "x w b", "y"),
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                output_padding=[1, 1],
            )
        ],
        {"w": floats(3, 4, 3, 3), "b": floats(4)},
        13,
    ),
    "gemm": (
        [node("Flatten", "x", "f"), node("Gemm", "f w b", "y", alpha=0.5, beta=2.0, transB=1)],
        {"w": floats(5, 192), "b": floats(5)},
        13,
    ),
    "gemm, weight as it is": (
        [node("Flatten", "x", "f"), node("Gemm", "f w", "y")],
        {"w": floats(192, 5)},
        13,
    ),
    "matmul": ([node("MatMul", "x w", "y")], {"w": floats(8, 5)}, 13),
    "batch norm": (
        [node("BatchNormalization", "x g b m v", "y", epsilon=1e-3)],
        {"g": floats(3), "b": floats(3), "m": floats(3), "v": abs(floats(3))},
        13,
    ),
    "layer norm": (
        [node("LayerNormalization", "x g b", "y", axis=-1)],
        {"g": floats(8), "b": floats(8)},
        17,
    ),
    "instance norm": (
        [node("InstanceNormalization", "x g b", "y")],
        {"g": floats(3), "b": floats(3)},
        13,
    ),
    "lrn": ([node("LRN", "x", "y", size=3, alpha=0.1)], {}, 13),
    "lp norm": ([node("LpNormalization", "x", "y", axis=1, p=2)], {}, 13),
    "clip": ([node("Clip", "x l h", "y")], {"l": np.float32(-0.5), "h": np.float32(1.0)}, 13),
    "clip, above": ([node("Clip", "x - h", "y")], {"h": np.float32(0.1)}, 13),
    "prelu": ([node("PRelu", "x s", "y")], {"s": floats(3, 1, 1)}, 13),
    "softmax of today": ([node("Softmax", "x", "y", axis=2)], {}, 13),
    "softmax of old": ([node("Softmax", "x", "y", axis=1)], {}, 11),
    "log softmax": ([node("LogSoftmax", "x", "y", axis=1)], {}, 13),
    "dropout": ([node("Dropout", "x", "y")], {}, 13),
    "hard sigmoid of Keras": ([node("HardSigmoid", "x", "y", alpha=0.2, beta=0.5)], {}, 13),
    "power": ([POSITIVE, node("Pow", "p e", "y")], {"e": np.float32(1.5)}, 13),
    "mod": ([node("Mod", "x d", "y", fmod=1)], {"d": np.float32(0.7)}, 13),
    "where": (
        [node("Greater", "x z", "c"), node("Where", "c x z", "y")],
        {"z": np.float32(0.1)},
        13,
    ),
    "comparisons": (
        [
            node("Less", "x z", "a"),
            node("GreaterOrEqual", "x q", "b"),
            node("And", "a b", "c"),
            node("Not", "c", "d"),
            node("Cast", "d", "y", to=1),
        ],
        {"z": np.float32(0.5), "q": np.float32(-0.5)},
        13,
    ),
    "variadic": (
        [node("Max", "x z", "a"), node("Sum", "a x", "b"), node("Mean", "b a", "y")],
        {"z": floats(1, 3, 1, 1)},
        13,
    ),
    "reshape by the graph's own shape": (
        [
            node("Shape", "x", "s"),
            node("Gather", "s i", "n", axis=0),
            node("Unsqueeze", "n z", "u"),
            node("Concat", "u r", "t", axis=0),
            node("Reshape", "x t", "y"),
        ],
        {"i": np.int64(0), "z": whole(0), "r": whole(-1, 4)},
        13,
    ),
    "reshape with zeros": ([node("Reshape", "x t", "y")], {"t": whole(0, 0, -1)}, 13),
    "squeeze and unsqueeze of old": (
        [node("Unsqueeze", "x", "u", axes=[2]), node("Squeeze", "u", "y", axes=[2])],
        {},
        11,
    ),
    "transpose": ([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], {}, 13),
    "split": (
        [node("Split", "x s", "a b", axis=1), node("Concat", "b a", "y", axis=1)],
        {"s": whole(1, 2)},
        13,
    ),
    "expand": (
        [node("Expand", "z t", "e"), node("Add", "x e", "y")],
        {"z": floats(3, 1, 1), "t": whole(1, 3, 8, 8)},
        13,
    ),
    "tile": ([node("Tile", "x t", "y")], {"t": whole(1, 2, 1, 1)}, 13),
    "range": (
        [
            node("Range", "a b c", "r"),
            node("Cast", "r", "f", to=1),
            node("Mul", "x f", "y"),
        ],
        {"a": np.int64(0), "b": np.int64(8), "c": np.int64(1)},
        13,
    ),
    "constant of shape": (
        [node("ConstantOfShape", "t", "c"), node("Add", "x c", "y")],
        {"t": whole(3, 8, 8)},
        13,
    ),
    "pad": (
        [node("Pad", "x p v", "y")],
        {"p": whole(0, 0, 1, 2, 0, 0, 0, 1), "v": np.float32(0.3)},
        13,
    ),
    "pad, reflected": (
        [node("Pad", "x p", "y", mode="reflect")],
        {"p": whole(0, 0, 1, 2, 0, 0, 2, 1)},
        13,
    ),
    "slice": (
        [node("Slice", "x s e a t", "y")],
        {"s": whole(-1, 1), "e": whole(-9, 7), "a": whole(3, 2), "t": whole(-1, 2)},
        13,
    ),
    "gather": ([node("Gather", "x i", "y", axis=1)], {"i": whole(2, 0)}, 13),
    "depth to space": (
        [
            node("SpaceToDepth", "x", "d", blocksize=2),
            node("DepthToSpace", "d", "y", blocksize=2, mode="CRD"),
        ],
        {},
        13,
    ),
    "depth to space, DCR": (
        [node("SpaceToDepth", "x", "d", blocksize=2), node("DepthToSpace", "d", "y", blocksize=2)],
        {},
        13,
    ),
    "max pool": (
        [
            node(
                "MaxPool",
                "x",
                "y",
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                ceil_mode=1,
            )
        ],
        {},
        13,
    ),
    "max pool, uneven padding": (
        [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])],
        {},
        13,
    ),
    "mean pool": (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
        {},
        13,
    ),
    "mean pool, counting": (
        [
            node(
                "AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
            )
        ],
        {},
        13,
    ),
    "global pools": (
        [
            node("GlobalAveragePool", "x", "a"),
            node("GlobalMaxPool", "x", "b"),
            node("Add", "a b", "y"),
        ],
        {},
        13,
    ),
    "reductions": (
        [
            node("ReduceMean", "x", "a", axes=[2, 3]),
            node("ReduceMax", "x", "b", axes=[2, 3]),
            node("ReduceL2", "x", "c", axes=[2, 3]),
            node("ReduceSum", "x s", "d"),
            node("Concat", "a b c d", "y", axis=1),
        ],
        {"s": whole(2, 3)},
        13,
    ),
    "argmax": ([node("ArgMax", "x", "i", axis=1), node("Cast", "i", "y", to=1)], {}, 13),
    "nearest": (
        [
            node(
                "Resize",
                "x - s",
                "y",
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        ],
        {"s": np.array([1, 1, 2, 1.5], np.float32)},
        13,
    ),
    "linear": (
        [
            node(
                *("Resize", "x - s", "y"),
                mode="linear",
                coordinate_transformation_mode="align_corners",
            )
        ],
        {"s": np.array([1, 1, 1.5, 0.75], np.float32)},
        13,
    ),
    "places": (
        [
            node("ArgMin", "x", "i", axis=1),
            node("GatherElements", "x i", "g", axis=1),
            node("Equal", "i z", "e"),
            node("Or", "e e", "o"),
            node("Cast", "o", "f", to=1),
            node("Add", "g f", "y"),
        ],
        {"z": np.int64(1)},
        13,
    ),
    "linear, half pixels": (
        [node("Resize", "x - s", "y", mode="linear")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
        13,
    ),
    "weights that are computed": (
        [
            node("Transpose", "w", "t", perm=[1, 0, 2, 3]),
            node("Mul", "t h", "v"),
            node("Conv", "x v", "y"),
        ],
        {"w": floats(3, 4, 3, 3), "h": np.float32(0.5)},
        13,
    ),
    **{
        kind: ([node(kind, "x", "y")], {}, 20 if kind in ("Gelu", "Mish", "HardSwish") else 13)
        for kind in (
            *("Relu", "Sigmoid", "Tanh", "HardSwish", "Mish", "Softplus", "Softsign", "LeakyRelu"),
            *("Elu", "Celu", "Selu", "ThresholdedRelu", "HardSigmoid", "Gelu", "Neg", "Abs"),
            *("Floor", "Ceil", "Exp", "Erf", "Sign", "Sin", "Cos", "Reciprocal", "Identity"),
        )
    },
    **{kind: ([POSITIVE, node(kind, "p", "y")], {}, 13) for kind in ("Sqrt", "Log")},
    **{
        kind: ([node(kind, "x z", "y")], {"z": abs(floats(3, 1, 1)) + np.float32(0.5)}, 13)
        for kind in ("Add", "Sub", "Mul", "Div")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_onnxruntime_computes(name: str, tmp_path: Path) -> None:
    nodes, constants, opset = CASES[name]
    constants = {key: np.asarray(value) for key, value in constants.items()}
    path = written(tmp_path / "net.onnx", model(nodes, constants, opset=opset))
    network = read_file(path).module
    for n in (1, 2):
        images = images_of(n, 3, 8, 8)
        (expected,) = by_onnxruntime(path, images)
        with torch.no_grad():
            made = network(torch.from_numpy(images))
        assert made.shape == expected.shape
        np.testing.assert_allclose(made.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_most_of_the_table_is_in_the_cases() -> None:
    tested = {n.op_type for nodes, _, _ in CASES.values() for n in nodes}
    assert len(tested & OPERATORS.keys()) > 0.8 * len(OPERATORS), sorted(OPERATORS.keys() - tested)
