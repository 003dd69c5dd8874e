"""Derivatives of a BatchNorm's statistics by the parameters in front of it (NanoAdapt Eq. 6-8).

A linear map z = W * a + b stands before the BatchNorm. With c a fixed centre (the source mean) and
E the mean over images and output positions, its closed forms are

    d E[z_o]       / d W_o = E[patch]            the same vector for every output channel o
    d E[(z_o-c)^2] / d W_o = 2 E[(z_o - c) patch]
    d E[z_o]       / d b_o = 1,                 d E[(z_o-c)^2] / d b_o = 2 E[z_o - c]

and for the earlier BatchNorm's gamma and beta, with G = da/dgamma and B = da/dbeta channel by
channel (its normalised input held fixed),

    d E[z_o]       / d gamma_j = sum_u W[o, j, u]   E[G_j shifted by u]
    d E[(z_o-c)^2] / d gamma_j = sum_u W[o, j, u] 2 E[(z_o - c) G_j shifted by u],  B_j for beta_j.

A patch is what the kernel sees at one output position: (channels in, *kernel).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, fx
from torch.nn import functional

from edge_tta.network.program import LinearMap


class Jacobian(NamedTuple):
    """d E[z] and d E[(z - centre)^2], output channels first; `mean` may lack that axis."""

    mean: Tensor
    square: Tensor


class Change(NamedTuple):
    """A change of E[z] and of E[(z - centre)^2], each (C_out,)."""

    mean: Tensor
    square: Tensor


def apply_linear(a: Tensor, weight: Tensor, bias: Tensor | None, linear: LinearMap) -> Tensor:
    """Return z = W * a + b."""
    if not linear.stride:
        return functional.linear(a, weight, bias)
    z: Tensor = torch.ops.aten.convolution(
        a,
        weight,
        bias,
        list(linear.stride),
        list(linear.padding),
        list(linear.dilation),
        False,
        [0] * len(linear.stride),
        linear.groups,
    )
    return z


def mean_patch(a: Tensor, z: Tensor, kernel: tuple[int, ...], linear: LinearMap) -> Tensor:
    """Return E[patch] of a (N, C_in, *spatial), (C_in, *kernel): one box sum a kernel offset.

    z gives the number of output positions.
    """
    if not linear.stride:
        return a.mean(0)
    padding = [amount for p in reversed(linear.padding) for amount in (p, p)]
    padded = functional.pad(a, padding)
    axes = [0, *range(2, a.ndim)]
    boxes = []
    for offset in _offsets(kernel):
        box = padded
        for axis, u in enumerate(offset):
            start = u * linear.dilation[axis]
            stop = start + linear.stride[axis] * (z.shape[axis + 2] - 1) + 1
            box = torch.ops.aten.slice(box, axis + 2, start, stop, linear.stride[axis])
        boxes.append(box.mean(axes))
    return torch.stack(boxes, 1).view(a.shape[1], *kernel)


def patch_correlation(
    z: Tensor, a: Tensor, weight_shape: tuple[int, ...], linear: LinearMap
) -> Tensor:
    """Return E[z patch], shaped like the weight (C_out, C_in / groups, *kernel).

    This is the weight gradient of the linear map for output gradient z, over the position count.
    """
    if not linear.stride:
        return z.t() @ a / z.shape[0]
    positions = z.numel() // z.shape[1]
    total: Tensor = torch.ops.aten.convolution_backward(
        z,
        a,
        z.new_empty(weight_shape),
        None,
        list(linear.stride),
        list(linear.padding),
        list(linear.dilation),
        False,
        [0] * len(linear.stride),
        linear.groups,
        [False, True, False],
    )[1]
    return total / positions


def weight_jacobian(
    z_centred: Tensor, a: Tensor, weight_shape: tuple[int, ...], linear: LinearMap
) -> Jacobian:
    """Return the Jacobian by the linear map's weight.

    mean (C_in, *kernel), square (C_out, C_in / groups, *kernel).
    """
    return Jacobian(
        mean_patch(a, z_centred, tuple(weight_shape[2:]), linear),
        2 * patch_correlation(z_centred, a, weight_shape, linear),
    )


def channel_jacobian(
    z_centred: Tensor, field: Tensor, weight: Tensor, linear: LinearMap
) -> Jacobian:
    """Return the Jacobian by a parameter of each input channel whose effect on a is `field`.

    field has a's shape; both parts are (C_out, C_in / groups).
    """
    shape = tuple(weight.shape)
    patch = _by_output(mean_patch(field, z_centred, shape[2:], linear), shape, linear.groups)
    correlation = patch_correlation(z_centred, field, shape, linear)
    kernel_axes = tuple(range(2, weight.ndim))
    if not kernel_axes:
        return Jacobian(weight * patch, 2 * weight * correlation)
    return Jacobian((weight * patch).sum(kernel_axes), (2 * weight * correlation).sum(kernel_axes))


def weight_change(jacobian: Jacobian, change: Tensor, groups: int) -> Change:
    """Return the first-order change of the statistics for a change of the weight, of its shape."""
    patch = _by_output(jacobian.mean, tuple(change.shape), groups)
    axes = tuple(range(1, change.ndim))
    return Change((patch * change).sum(axes), (jacobian.square * change).sum(axes))


def channel_change(jacobian: Jacobian, change: Tensor, groups: int) -> Change:
    """Return the same for a change (C_in,) of a parameter of each input channel."""
    by_output = _by_output(change, tuple(jacobian.square.shape), groups)
    return Change((jacobian.mean * by_output).sum(1), (jacobian.square * by_output).sum(1))


def direction_change(z_centred: Tensor, dz: Tensor) -> Change:
    """Return the directional derivative along dz, the change of z, of its shape."""
    axes = [0, *range(2, dz.ndim)]
    return Change(dz.mean(axes), 2 * (z_centred * dz).mean(axes))


def field_of(
    path: fx.GraphModule, y: Tensor, others: tuple[Tensor, ...], tangent: Tensor
) -> Tensor:
    """Return the change of a when y changes along `tangent` (y's shape), by forward mode."""
    field: Tensor = torch.func.jvp(lambda value: path(value, *others), (y,), (tangent,))[1]
    return field


def _by_output(values: Tensor, weight_shape: tuple[int, ...], groups: int) -> Tensor:
    """Return values by output channel, (C_in, ...) -> (C_out, C_in / groups, ...)."""
    if groups == 1:
        return values.unsqueeze(0)
    grouped = values.view(groups, weight_shape[1], *values.shape[1:])
    return grouped.repeat_interleave(weight_shape[0] // groups, 0)


def _offsets(kernel: tuple[int, ...]) -> list[tuple[int, ...]]:
    offsets: list[tuple[int, ...]] = [()]
    for size in kernel:
        offsets = [(*head, u) for head in offsets for u in range(size)]
    return offsets
