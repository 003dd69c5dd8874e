"""Operators, a family in each module; importing them fills the table."""

from edge_tta.network.onnx_file.operators import (  # noqa: F401
    activations,
    elementwise,
    linear,
    making,
    normalisation,
    pooling,
    quantisation,
    reductions,
    resizing,
    selecting,
    shapes,
)
