"""From a frame to the network's input: resize, crop, normalise; and back to pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.errors import ConfigError

Images = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_LONGEST = 8
"""Pictures whose sides differ by more are cut before they are resized."""


@dataclass(frozen=True)
class InputSpec:
    """What the network takes: image = (rgb in 0..255 / scale - mean) / std, size x size.

    Attributes:
        size: side of the square input in pixels, from 1.
        scale: divisor of the 0..255 values, > 0.
        mean, std: per channel, in units after the division; std > 0.
    """

    size: int = 224
    scale: float = 255.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 1 <= self.size <= 8192:
            raise ConfigError(f"size must be a whole number from 1 to 8192, got {self.size!r}")
        if not (_is_real(self.scale) and self.scale > 0):
            raise ConfigError(f"scale must be a number above 0, got {self.scale!r}")
        if len(self.mean) != len(self.std) or not self.mean:
            raise ConfigError(
                f"mean and std must have one value a channel, got {self.mean} and {self.std}"
            )
        if not all(map(_is_real, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ConfigError(f"mean and std must be numbers, std above 0, got {self.std}")

    def prepare(self, frame: Pixels) -> Images:
        """A frame (H, W, 3) uint8 RGB as an image (1, 3, size, size).

        The short side is resized to `size` (area averaging when shrinking) and the centre is cut
        out, so that shapes are not distorted.
        """
        return self.normalise(resize(frame, self.size)[None])

    def normalise(self, frames: Pixels) -> Images:
        """Frames (n, H, W, C) uint8 as images (n, C, H, W)."""
        values = np.ascontiguousarray(frames.transpose(0, 3, 1, 2), dtype=np.float32)
        values *= np.float32(1 / self.scale)
        mean, std = self._columns()
        values -= mean
        values /= std
        return values

    def pixels(self, images: Images) -> Images:
        """The inverse of `normalise`, as float32 in 0..255, still (n, C, H, W)."""
        mean, std = self._columns()
        return (images * std + mean) * np.float32(self.scale)

    def _columns(self) -> tuple[Images, Images]:
        mean = np.asarray(self.mean, np.float32).reshape(1, -1, 1, 1)
        return mean, np.asarray(self.std, np.float32).reshape(1, -1, 1, 1)


def resize(frame: Pixels, size: int) -> Pixels:
    """The centre square of a frame (H, W, C), size x size."""
    height, width = frame.shape[:2]
    short = min(height, width)
    if max(height, width) > _LONGEST * short:
        # Of a line one pixel high, enlarged, only the middle is wanted; all of it may not fit.
        height, width = min(height, _LONGEST * short), min(width, _LONGEST * short)
        top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
        frame = frame[top : top + height, left : left + width]
    if short != size:
        ratio = size / short
        new = max(size, round(width * ratio)), max(size, round(height * ratio))
        method = cv2.INTER_AREA if size < short else cv2.INTER_LINEAR
        frame = np.asarray(cv2.resize(frame, new, interpolation=method), np.uint8)
        height, width = frame.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return frame[top : top + size, left : left + size]


def per_channel(values: Sequence[float] | float, channels: int = 3) -> tuple[float, ...]:
    """One value for all channels, or one for each.

    Raises:
        ConfigError: another number of values.
    """
    listed = (values,) if isinstance(values, (int, float)) else tuple(values)
    if len(listed) not in (1, channels):
        raise ConfigError(f"expected 1 or {channels} values, one a channel, got {len(listed)}")
    return tuple(float(v) for v in listed) * (channels if len(listed) == 1 else 1)


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
