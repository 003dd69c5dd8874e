"""Linear maps: convolutions, transposed convolutions, Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_tta.network.onnx_file.nodes import Given, Host, Node, reads, tensor
from edge_tta.network.onnx_file.operators.padding import resolve_padding

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Alone(nn.Module):
    """A module of which ONNX gives the weights as further inputs: they are in it already.

    before: what is done to the input first.
    """

    def __init__(self, layer: nn.Module, before: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.layer, self._before = layer, before

    def forward(self, x: Tensor, *_: Given) -> Any:
        """Return the layer's output; weights among the inputs are passed over."""
        return self.layer(x if self._before is None else self._before(x))


@reads("Conv")
def conv(node: Node, given: Sequence[Host | None]) -> nn.Module:
    """Convolution over 1 to 3 axes with constant weights."""
    weight, bias = _constants(node, given)
    axes, groups = weight.ndim - 2, int(node.get("group", 1))
    _check_axes(node, axes, weight.shape[0], groups)
    stride, dilation = _spread(node, "strides", axes), _spread(node, "dilations", axes)
    symmetric, before = resolve_padding(node, weight.shape[2:], stride, dilation)
    layer = _CONVOLUTIONS[axes](
        weight.shape[1] * groups,
        weight.shape[0],
        weight.shape[2:],
        stride,
        symmetric,
        dilation,
        groups,
        bias=bias is not None,
        device="meta",
    )
    return Alone(filled(layer, weight, bias), before)


@reads("ConvTranspose")
def conv_transpose(node: Node, given: Sequence[Host | None]) -> nn.Module:
    """Transposed convolution with constant weights."""
    weight, bias = _constants(node, given)
    axes, groups = weight.ndim - 2, int(node.get("group", 1))
    _check_axes(node, axes, weight.shape[0], groups)
    if node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or node.get("output_shape"):
        raise node.error("pads by its output's shape; expected pads and output_padding as numbers")
    pads = [int(p) for p in node.get("pads", [0] * 2 * axes)]
    extra = [int(p) for p in node.get("output_padding", [0] * axes)]
    # More cut off at the end is a smaller output padding.
    extra = [e + b - a for e, b, a in zip(extra, pads[:axes], pads[axes:], strict=True)]
    if min(extra) < 0:
        raise node.error(f"has pads {pads}; expected no more at the end than at the beginning")
    layer = _TRANSPOSED[axes](
        weight.shape[0],
        weight.shape[1] * groups,
        weight.shape[2:],
        _spread(node, "strides", axes),
        tuple(pads[:axes]),
        tuple(extra),
        groups,
        bias is not None,
        _spread(node, "dilations", axes),
        device="meta",
    )
    return Alone(filled(layer, weight, bias))


@reads("Gemm")
def gemm(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """alpha A B + beta C; a linear layer where B and C are constant."""
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    over, down = bool(node.get("transA", 0)), bool(node.get("transB", 0))
    weight, bias = [*given[1:], None, None][:2]
    named = len(node.inputs) > 2 and bool(node.inputs[2])
    if weight is not None and not over and (bias is not None or not named):
        matrix = weight if down else weight.T
        flat = None if bias is None else np.broadcast_to(bias * beta, (1, len(matrix)))[0]
        return Alone(linear_layer(matrix * alpha, flat))

    def compute(a: Tensor, b: Given, c: Given = None) -> Tensor:
        other = tensor(b, a)
        product = alpha * ((a.mT if over else a) @ (other.mT if down else other))
        return product if c is None else product + beta * tensor(c, a)

    return compute


@reads("MatMul")
def matmul(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Matrix product; a linear layer where the right one is constant."""
    weight = given[1]
    if weight is not None and weight.ndim == 2:
        return Alone(linear_layer(weight.T, None))

    def compute(a: Given, b: Given) -> Tensor:
        like = a if isinstance(a, Tensor) else b
        assert isinstance(like, Tensor)
        return torch.matmul(tensor(a, like), tensor(b, like))

    return compute


def linear_layer(weight: Host, bias: Host | None) -> nn.Linear:
    """Return a linear layer of weight (out, in)."""
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    filled(layer, weight, bias)
    return layer


def filled(layer: nn.Module, weight: Host, bias: Host | None) -> nn.Module:
    """Return a layer that was made without values (on `meta`), with these."""
    layer.weight = nn.Parameter(torch.from_numpy(np.array(weight, np.float32)))
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(np.array(bias, np.float32)))
    return layer


def _constants(node: Node, given: Sequence[Host | None]) -> tuple[Host, Host | None]:
    weight, bias = [*given[1:], None, None][:2]
    if weight is None or (len(node.inputs) > 2 and node.inputs[2] and bias is None):
        raise node.error("has weights that are computed from the images; expected constants")
    if bias is not None and bias.ndim != 1:
        raise node.error(f"has a bias of shape {bias.shape}; expected one value a channel")
    return weight, bias


def _check_axes(node: Node, axes: int, channels: int, groups: int) -> None:
    if axes not in _CONVOLUTIONS or groups < 1 or channels % groups:
        raise node.error(
            f"has {axes} spatial axes and {groups} groups of {channels}; expected 1 to 3"
        )


def _spread(node: Node, name: str, axes: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in node.get(name, [1] * axes))
    if len(values) != axes or min(values) < 1:
        raise node.error(f"has {name} {values}; expected {axes} numbers from 1")
    return values
