"""Padding of convolutions and pools: ONNX's may differ between the two ends of an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional

from edge_tta.network.onnx_file.nodes import Node

_MOST = 1 << 14


def resolve_padding(
    node: Node,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    value: float = 0.0,
) -> tuple[tuple[int, ...], Callable[[Tensor], Tensor] | None]:
    """Return symmetric padding by axis, and what pads before that where it is not symmetric.

    Args:
        kernel, stride, dilation: by spatial axis.
        value: what is padded with.
    """
    axes = len(kernel)
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):

        def same(x: Tensor) -> Tensor:
            amounts: list[int] = []
            for axis in reversed(range(axes)):
                size, step = x.shape[axis - axes], stride[axis]
                total = (-(-size // step) - 1) * step + (kernel[axis] - 1) * dilation[axis] + 1
                total = max(total - size, 0)
                small, large = total // 2, total - total // 2
                amounts += [small, large] if auto == "SAME_UPPER" else [large, small]
            return functional.pad(x, amounts, value=value)

        if all(step == 1 for step in stride):
            totals = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
            if not any(total % 2 for total in totals):
                return tuple(total // 2 for total in totals), None
        return (0,) * axes, same
    pads = [0] * 2 * axes if auto == "VALID" else [int(p) for p in node.get("pads", [0] * 2 * axes)]
    if len(pads) != 2 * axes or min(pads) < 0 or max(pads) > _MOST:
        raise node.error(f"has pads {pads}; expected {2 * axes} numbers from 0 to {_MOST}")
    begin, end = pads[:axes], pads[axes:]
    if begin == end:
        return tuple(begin), None
    amounts = [p for pair in reversed(list(zip(begin, end, strict=True))) for p in pair]
    return (0,) * axes, lambda x: functional.pad(x, amounts, value=value)
