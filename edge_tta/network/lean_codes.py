"""Tensors that wait for the backward pass, in few bits.

    float32     as they are
    float16     rounding error 2^-11 relative; above 65504 infinite, so that the gradient of that
                frame counts as not finite
    int8        per channel, 255 levels from zero to the channel's largest value (positive), or 127
                on each side of zero (signed)

What an activation has switched off is zero in a positive code, and nothing else is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edge_tta.config import SAVED

aten = torch.ops.aten

HALF_BYTE = 128
PRECISIONS = SAVED[1:]


def encode(
    x: Tensor, precision: str, *, positive: bool, bounded: bool = False
) -> tuple[Tensor, Tensor]:
    """A code of x (N, C, *spatial) and its step by channel (empty but for int8).

    positive: x >= 0, and zeros must stay apart from all else.
    bounded: the largest value must come back as it is, to tell that it is a bound.
    """
    if precision == "float32":
        return x, x.new_empty(0)
    if precision == "float16":
        return x.to(torch.float16), x.new_empty(0)
    if positive:
        tiny = torch.finfo(torch.float32).tiny
        axes = (0, *range(2, x.ndim))
        # Rounding up: what is above zero is coded above zero.
        step = (x.amax(axes) / (254.5 if bounded else 254)).clamp_min(tiny)
        step = step if bounded else step.bfloat16()
        return (x / along(step.to(x.dtype), x)).ceil_().to(torch.uint8), step
    values, step = _scaled(x)
    return values.to(torch.int8), step


def decode(code: Tensor, step: Tensor, dtype: torch.dtype) -> Tensor:
    """The values of a code, a new tensor unless the code is the values."""
    if not step.numel():
        return code.to(dtype)
    values = code.to(dtype)
    if code.dtype == torch.uint8:
        values.sub_(0.5)
    values.mul_(along(step.to(dtype), code))
    return values.clamp_min_(0) if code.dtype == torch.uint8 else values


def encode_on(y: Tensor, out: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """A code of y (any sign) where out > 0, and zero elsewhere, where no gradient comes.

    int8 is shifted by 128, so that zero is free. A y that is zero itself, or smaller than float16
    can tell, counts as off.
    """
    if precision != "int8":
        return encode(aten.threshold_backward(y, out, 0), precision, positive=False)
    values, step = _scaled(y)
    return aten.threshold_backward(values.add_(HALF_BYTE), out, 0).to(torch.uint8), step


def decode_on(code: Tensor, step: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """The values of such a code, of no meaning where it is off, and g with zeros there."""
    values = code.to(g.dtype)
    if not step.numel():
        return values, aten.threshold_backward(g, values.abs(), 0)
    g = aten.threshold_backward(g, values, 0)
    return values.sub_(HALF_BYTE).mul_(along(step.to(g.dtype), values)), g


def _scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """x in whole steps from -127 to 127, still of its type, and the step by channel."""
    axes = (0, *range(2, x.ndim))
    tiny = torch.finfo(torch.float32).tiny
    step = (torch.maximum(x.amax(axes), -x.amin(axes)) / 127).clamp_min(tiny).bfloat16()
    return (x / along(step.to(x.dtype), x)).round_(), step


def along(vector: Tensor, x: Tensor) -> Tensor:
    """A vector (C,) shaped to go with x (N, C, *spatial)."""
    return vector.view((1, -1) + (1,) * (x.ndim - 2))


def pack(x: Tensor, upper: float | None) -> Tensor:
    """A bit for each value of x, in the order of its memory: 0 < x, and x < upper if given."""
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


def _in_memory_order(x: Tensor) -> Tensor:
    return x.as_strided((x.numel(),), (1,), x.storage_offset())
