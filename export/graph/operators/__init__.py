"""PyTorch's operators in ONNX: a table of small functions, by family."""

from export.graph.operators import (
    activations,
    convolution,
    convolution_gradients,
    elementwise,
    normalisation,
    pooling,
    reductions,
    shapes,
)
from export.graph.operators.table import OPERATORS, Operator

__all__ = [
    "OPERATORS",
    "Operator",
    "activations",
    "convolution",
    "convolution_gradients",
    "elementwise",
    "normalisation",
    "pooling",
    "reductions",
    "shapes",
]
