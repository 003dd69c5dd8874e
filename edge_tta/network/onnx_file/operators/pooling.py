"""Pools: largest and mean values of windows, and of whole maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from edge_tta.network.onnx_file.nodes import Host, Node, reads
from edge_tta.network.onnx_file.operators.padding import resolve_padding

_LOWEST = -3.0e38
_MAX: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_MEAN: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


@reads("MaxPool", "AveragePool")
def pool(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Largest or mean value of each window."""
    kernel = tuple(int(k) for k in node.get("kernel_shape", []))
    axes = len(kernel)
    if axes not in _MAX or min(kernel) < 1:
        raise node.error(f"has windows {kernel}; expected 1 to 3 axes")
    stride = tuple(int(s) for s in node.get("strides", [1] * axes))
    dilation = tuple(int(d) for d in node.get("dilations", [1] * axes))
    if len(stride) != axes or min(stride) < 1 or len(dilation) != axes or min(dilation) < 1:
        raise node.error(f"has strides {stride} and dilations {dilation}; expected numbers from 1")
    ceil = bool(node.get("ceil_mode", 0))
    largest = node.operator == "MaxPool"
    if largest and len(node.outputs) > 1 and node.outputs[1]:
        raise node.error("gives the places of its values too; expected the values alone")
    padding, before = resolve_padding(node, kernel, stride, dilation, _LOWEST if largest else 0.0)
    if any(p > k // 2 for p, k in zip(padding, kernel, strict=True)):
        amounts = [p for pad in reversed(padding) for p in (pad, pad)]
        value = _LOWEST if largest else 0.0
        padding = (0,) * axes

        def before(x: Tensor) -> Tensor:
            return functional.pad(x, amounts, value=value)

    counts = bool(node.get("count_include_pad", 0))
    if not largest and (max(dilation) > 1 or (before is not None and not counts)):
        raise node.error("is dilated, or padded unevenly without counting that; expected neither")

    def compute(x: Tensor) -> Tensor:
        x = x if before is None else before(x)
        if largest:
            return _MAX[axes](x, kernel, stride, padding, dilation, ceil)
        return _MEAN[axes](x, kernel, stride, padding, ceil, counts)

    return compute


@reads("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Mean or largest value of each channel's whole map."""
    if node.operator == "GlobalAveragePool":
        return lambda x: x.mean(list(range(2, x.ndim)), keepdim=True)
    return lambda x: x.amax(list(range(2, x.ndim)), keepdim=True)
