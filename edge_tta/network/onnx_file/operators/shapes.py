"""Shapes: reshapes, transposes, concatenations, padding, and what is known of them beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.network.onnx_file.nodes import (
    Given,
    Host,
    Node,
    Value,
    axes_of,
    reads,
    tensor,
    whole,
)

MOST_ELEMENTS = 1 << 28
"""Values that one node may make, 1 GiB of float32: more is a damaged or a malicious file."""


def host(values: Sequence[Any]) -> Host:
    """Return whole numbers, maybe symbolic, as an array."""
    made = np.empty(len(values), object)
    for place, value in enumerate(values):
        made[place] = value
    return made


def check_size(node: Node, shape: Sequence[Any]) -> None:
    """Refuse a shape beyond `MOST_ELEMENTS`, or with negative sides.

    Raises:
        ModelError: it is so.
    """
    sides = [side for side in shape if isinstance(side, int)]
    if any(side < 0 for side in sides) or math.prod(sides) > MOST_ELEMENTS:
        raise node.error(
            f"makes a tensor of shape {tuple(sides)[:8]}; expected one that fits in memory"
        )


@reads("Shape")
def shape(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """The sides of a tensor."""
    first, last = int(node.get("start", 0)), node.get("end")
    return lambda x: host(list(x.shape)[first : None if last is None else int(last)])


@reads("Size")
def size(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """The number of a tensor's values."""
    return lambda x: host([math.prod(x.shape)]).reshape(())


@reads("Reshape")
def reshape(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Another shape; where the file says 1 for the batch and there are more images, those."""
    keeps_zero = bool(node.get("allowzero", 0))

    def compute(x: Value, shape: Given) -> Value:
        sides = whole(shape, node)
        if not keeps_zero:
            sides = [
                x.shape[i] if isinstance(s, int) and s == 0 and i < x.ndim else s
                for i, s in enumerate(sides)
            ]
        if not isinstance(x, Tensor):
            return x.reshape([int(s) for s in sides])
        if len(sides) > 1 and isinstance(sides[0], int) and sides[0] == 1 and x.ndim > 1:
            sides = [x.shape[0], *sides[1:]]
        return x.reshape(sides)

    return compute


@reads("Flatten")
def flatten(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """A matrix: the axes before one, and those from it on."""
    axis = int(node.get("axis", 1))

    def compute(x: Tensor) -> Tensor:
        place = axis % x.ndim if axis < 0 else axis
        if place == 1:
            return x.flatten(1)
        return x.reshape(math.prod(x.shape[:place]), -1)

    return compute


@reads("Transpose")
def transpose(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Axes in another order; without one, reversed."""
    order = node.get("perm")

    def compute(x: Value) -> Value:
        axes = list(range(x.ndim))[::-1] if order is None else [int(a) for a in order]
        return x.permute(axes) if isinstance(x, Tensor) else x.transpose(axes)

    return compute


@reads("Squeeze")
def squeeze(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Without axes of one value; without any said, without all such but the batch."""

    def compute(x: Value, *more: Given) -> Value:
        axes = axes_of(node, (x, *more))
        if axes is None:
            axes = [a for a in range(isinstance(x, Tensor), x.ndim) if x.shape[a] == 1]
        chosen = tuple(sorted(a % x.ndim for a in axes))
        return x.squeeze(chosen)

    return compute


@reads("Unsqueeze")
def unsqueeze(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """With axes of one value put in."""

    def compute(x: Value, *more: Given) -> Value:
        axes = axes_of(node, (x, *more)) or []
        rank = x.ndim + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis) if isinstance(x, Tensor) else np.expand_dims(x, axis)
        return x

    return compute


@reads("Concat")
def concat(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Tensors one behind the other along an axis."""
    axis = int(node.get("axis", 0))

    def compute(*parts: Value) -> Value:
        like = next((p for p in parts if isinstance(p, Tensor)), None)
        if like is None:
            return np.concatenate(parts, axis)
        tensors = [tensor(p, like) for p in parts]
        if axis % like.ndim:  # a constant with a batch of one beside images
            tensors = [
                t.expand(like.shape[0], *t.shape[1:])
                if not isinstance(p, Tensor) and t.shape[0] == 1
                else t
                for t, p in zip(tensors, parts, strict=True)
            ]
        return torch.cat(tensors, axis)

    return compute


@reads("Split")
def split(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Parts along an axis, of said sizes or equal ones."""
    axis = int(node.get("axis", 0))

    def compute(x: Value, *more: Given) -> tuple[Value, ...]:
        sizes = node.get("split")
        if more and more[0] is not None:
            sizes = whole(more[0], node)
        count = len(node.outputs)
        if sizes is None:
            each = -(-x.shape[axis] // count)
            sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
        if isinstance(x, Tensor):
            return torch.split(x, [int(s) for s in sizes], axis)
        return tuple(np.split(x, np.cumsum(sizes)[:-1].astype(int), axis))

    return compute


@reads("Expand")
def expand(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Broadcast to a shape."""

    def compute(x: Value, shape: Given) -> Value:
        sides = whole(shape, node)
        check_size(node, sides)
        if not isinstance(x, Tensor):
            return np.broadcast_to(x, np.broadcast_shapes(x.shape, [int(s) for s in sides]))
        sides = [1] * (x.ndim - len(sides)) + sides
        own = [1] * (len(sides) - x.ndim) + list(x.shape)
        return x.expand([o if isinstance(s, int) and s == 1 else s for o, s in zip(own, sides)])  # noqa: B905

    return compute


@reads("Tile")
def tile(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """A tensor repeated along its axes."""

    def compute(x: Value, repeats: Given) -> Value:
        times = [int(t) for t in whole(repeats, node)]
        check_size(node, [int(s) * t for s, t in zip(x.shape[1:], times[1:], strict=False)])
        check_size(node, times)
        return x.repeat(times) if isinstance(x, Tensor) else np.tile(x, times)

    return compute


@reads("Pad")
def pad(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Padding of any axes; what is negative is cut off."""
    mode = node.get("mode", "constant")
    modes = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    if mode not in modes:
        raise node.error(f"pads in the mode {mode!r}; expected one of {', '.join(modes)}")

    def compute(x: Tensor, pads: Given, value: Given = None, axes: Given = None) -> Tensor:
        amounts = [int(p) for p in whole(pads, node)]
        places = list(range(x.ndim)) if axes is None else [int(a) for a in whole(axes, node)]
        begin = dict(zip((a % x.ndim for a in places), amounts, strict=False))
        end = dict(zip((a % x.ndim for a in places), amounts[len(places) :], strict=True))
        flat = [n for a in reversed(range(x.ndim)) for n in (begin.get(a, 0), end.get(a, 0))]
        while len(flat) > 2 and flat[-2:] == [0, 0]:
            flat = flat[:-2]
        if max(flat, default=0) > 1 << 14:
            raise node.error(f"pads by {max(flat)}; expected what fits in memory")
        if mode == "constant":
            fill = 0.0 if value is None else float(np.asarray(value).ravel()[0])
            return functional.pad(x, flat, value=fill)
        return functional.pad(x, flat, mode=modes[mode])

    return compute
