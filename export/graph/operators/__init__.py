"""How each PyTorch operator is said in ONNX: a table of small functions, by family."""

from export.graph.operators import convolution, elementwise, normalisation, pooling, reductions
from export.graph.operators import shapes as shapes
from export.graph.operators.table import OPERATORS, Operator

__all__ = [
    "OPERATORS",
    "Operator",
    "convolution",
    "elementwise",
    "normalisation",
    "pooling",
    "reductions",
    "shapes",
]
