"""Tensors saved for the backward pass, in few bits.

    float32     as they are
    float16     rounding error 2^-11 relative; above 65504 infinite, so that the gradient of that
                frame counts as not finite
    int8        per channel, 255 levels from zero to the channel's largest value (positive), or 127
                on each side of zero (signed)

What an activation has switched off is zero in a positive code, and nothing else is.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

aten = torch.ops.aten

HALF_BYTE = 128
_TINY = torch.finfo(torch.float32).tiny


class Precision(str, Enum):
    """Type of the values saved for the backward pass."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


class Code(NamedTuple):
    """A tensor as it is saved: values (N, C, *spatial), and the step of each channel (C,), empty
    but for int8."""

    values: Tensor
    step: Tensor


def encode(x: Tensor, precision: Precision, *, positive: bool, bounded: bool = False) -> Code:
    """Return a code of x (N, C, *spatial).

    positive: x >= 0, and zeros must stay distinct from all else.
    bounded: the largest value must come back as it is, to tell that it is a bound.
    """
    if precision is Precision.FLOAT32:
        return Code(x, x.new_empty(0))
    if precision is Precision.FLOAT16:
        return Code(x.to(torch.float16), x.new_empty(0))
    if positive:
        # Rounding up: what is above zero is coded above zero.
        step = (x.amax(_all_but_channels(x)) / (254.5 if bounded else 254)).clamp_min(_TINY)
        step = step if bounded else step.bfloat16()
        return Code((x / along(step.to(x.dtype), x)).ceil_().to(torch.uint8), step)
    values, step = _scaled(x)
    return Code(values.to(torch.int8), step)


def decode(code: Code, dtype: torch.dtype) -> Tensor:
    """Return the values of a code, a new tensor unless the code is the values."""
    values = code.values.to(dtype)
    if not code.step.numel():
        return values
    positive = code.values.dtype == torch.uint8
    if positive:
        values.sub_(0.5)
    values.mul_(along(code.step.to(dtype), values))
    return values.clamp_min_(0) if positive else values


def encode_where_on(y: Tensor, out: Tensor, precision: Precision) -> Code:
    """Return a code of y (any sign) where out > 0, and zero elsewhere, where no gradient comes.

    int8 is shifted by 128, so that zero is free. A y that is zero itself, or smaller than float16
    can tell, counts as off.
    """
    if precision is not Precision.INT8:
        return encode(aten.threshold_backward(y, out, 0), precision, positive=False)
    values, step = _scaled(y)
    return Code(aten.threshold_backward(values.add_(HALF_BYTE), out, 0).to(torch.uint8), step)


def decode_where_on(code: Code, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of such a code, without meaning where it is off, and g with zeros there."""
    values = code.values.to(g.dtype)
    if not code.step.numel():
        return values, aten.threshold_backward(g, values.abs(), 0)
    g = aten.threshold_backward(g, values, 0)
    return values.sub_(HALF_BYTE).mul_(along(code.step.to(g.dtype), values)), g


def _scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """x in whole steps from -127 to 127, still of its type, and the step by channel."""
    axes = _all_but_channels(x)
    step = (torch.maximum(x.amax(axes), -x.amin(axes)) / 127).clamp_min(_TINY).bfloat16()
    return (x / along(step.to(x.dtype), x)).round_(), step


def along(vector: Tensor, x: Tensor) -> Tensor:
    """A vector (C,) shaped to go with x (N, C, *spatial)."""
    return vector.view((1, -1) + (1,) * (x.ndim - 2))


def channel_sums(x: Tensor) -> Tensor:
    """Return the sums of x (N, C, *spatial) by channel, (C,)."""
    return x.sum(_all_but_channels(x))


def pack(x: Tensor, upper: float | None) -> Tensor:
    """Return bits for x, in the order of its memory: 0 < x, and x < upper if given."""
    values = _in_memory_order(x)
    if not x.is_cuda:
        # NumPy packs fastest, and knows no bfloat16.
        wide = values.dtype in (torch.float32, torch.float64)
        array = (values if wide else values.float()).numpy()
        bits = array > 0 if upper is None else (array > 0) & (array < upper)
        return torch.from_numpy(np.packbits(bits, bitorder="little"))
    on = values > 0 if upper is None else (values > 0) & (values < upper)
    padded = torch.nn.functional.pad(on.to(torch.uint8), (0, -len(on) % 8))
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=x.device)
    return (padded.view(-1, 8) * weights).sum(1, dtype=torch.uint8)


def masked(g: Tensor, bits: Tensor) -> Tensor:
    """g where its bit is set, else zero; g's memory must be laid out as that of the packed one."""
    values = _in_memory_order(g)
    if not g.is_cuda:
        on = torch.from_numpy(np.unpackbits(bits.numpy(), count=len(values), bitorder="little"))
    else:
        shifts = torch.arange(8, dtype=torch.uint8, device=g.device)
        on = ((bits[:, None] >> shifts) & 1).flatten()[: len(values)]
    return (values * on).as_strided(g.shape, g.stride())


def layout_of(x: Tensor) -> torch.memory_format:
    """channels_last where that is how x lies in memory, else contiguous."""
    for axes, layout in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if x.ndim == axes and x.is_contiguous(memory_format=layout):
            return layout
    return torch.contiguous_format


def dense(x: Tensor) -> Tensor:
    """x without holes in its memory, in the layout that it has, if any."""
    return x.contiguous(memory_format=layout_of(x))


def _all_but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _in_memory_order(x: Tensor) -> Tensor:
    return x.as_strided((x.numel(),), (1,), x.storage_offset())
