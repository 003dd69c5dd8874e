"""PyTorch's operators in ONNX: a table of small functions, by family."""

from importlib import import_module

from export.graph.operators.table import OPERATORS

__all__ = ["OPERATORS"]

for _family in (
    *("activations", "convolution", "convolution_gradients", "elementwise", "normalisation"),
    *("pooling", "reductions", "resizing", "shapes"),
):
    import_module(f"{__name__}.{_family}")  # which fills the table
