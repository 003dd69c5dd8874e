"""Resizing of maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from edge_tta.network.onnx_file.nodes import Given, Host, Node, reads, whole
from edge_tta.network.onnx_file.operators.shapes import check_size

_SMOOTH = {1: "linear", 2: "bilinear", 3: "trilinear"}


@reads("Resize", "Upsample")
def resize(node: Node, given: Sequence[Host | None]) -> Callable[..., Any]:
    """Nearest, linear or cubic; the batch and the channels stay."""
    mode = node.get("mode", "nearest")
    place = node.get("coordinate_transformation_mode", "half_pixel")
    upsample = node.operator == "Upsample"
    known = {"nearest": ("asymmetric", "half_pixel", "pytorch_half_pixel")}.get(
        mode, ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    )
    if mode not in ("nearest", "linear", "cubic") or (not upsample and place not in known):
        raise node.error(f"resizes by {mode}, {place}; expected one of {', '.join(known)}")
    rounding = node.get("nearest_mode", "round_prefer_floor")

    def compute(x: Tensor, *more: Given) -> Tensor:
        scales = more[0] if upsample else (more[1] if len(more) > 1 else None)
        sizes = more[2] if not upsample and len(more) > 2 else None
        axes = x.ndim - 2
        if sizes is not None and np.size(sizes):
            size = [int(s) for s in whole(sizes, node)][-axes:]
        elif isinstance(scales, np.ndarray) and scales.size:
            factors = [float(f) for f in scales.ravel()]
            if len(factors) == x.ndim and factors[:2] != [1.0, 1.0]:
                raise node.error(f"resizes channels by {factors[:2]}; expected the maps alone")
            size = [int(s * f + 1e-6) for s, f in zip(x.shape[2:], factors[-axes:], strict=True)]
        else:
            raise node.error("takes its size from the images' values; expected constants")
        check_size(node, [int(x.shape[1]), *size])
        return _resized(node, x, size, mode, place, rounding)

    return compute


def _resized(
    node: Node, x: Tensor, size: list[int], mode: str, place: str, rounding: str
) -> Tensor:
    old = [int(s) for s in x.shape[2:]]
    if size == old:
        return x
    if mode == "nearest":
        whole_factor = all(new % before == 0 for new, before in zip(size, old, strict=True))
        if whole_factor or (place == "asymmetric" and rounding == "floor"):
            return functional.interpolate(x, size, mode="nearest")
        if place != "asymmetric" and rounding in ("round_prefer_floor", "round_prefer_ceil"):
            return functional.interpolate(x, size, mode="nearest-exact")
        raise node.error(f"rounds places by {rounding}, {place}; expected floor with asymmetric")
    smooth = _SMOOTH[len(size)] if mode == "linear" else "bicubic"
    if place == "asymmetric":
        raise node.error(f"resizes by {mode}, asymmetric; expected half_pixel or align_corners")
    return functional.interpolate(x, size, mode=smooth, align_corners=place == "align_corners")
