"""Frames as the network's input: resized, cut, normalised; and back to pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_tta.errors import ConfigError, quoted

Images = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MOST_SIDE = 8192
_LARGEST = 1e12
_LONGEST = 8
"""Pictures longer than the input's shape by more are cut before they are resized."""


class Channels(str, Enum):
    """Channels of the network's input, in their order."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"

    @property
    def number(self) -> int:
        """Number of channels."""
        return 1 if self is Channels.GRAY else 3


class Fit(str, Enum):
    """How a frame gets the input's shape: its centre is cut out, or it is stretched."""

    CROP = "crop"
    STRETCH = "stretch"


Size = int | tuple[int, int]
"""Side of a square in pixels, or (H, W)."""


@dataclass(frozen=True)
class InputSpec:
    """Input that the network takes: image = (values in 0..255 / scale - mean) / std.

    Attributes:
        size: (H, W) in pixels, each from 1; where both are the same, that number alone.
        scale: divisor of the 0..255 values, > 0.
        mean, std: one value for all channels, or one each in their order, in units after the
            division; std > 0; none: ImageNet's.
        channels: what the values are; of frames, which are RGB, gray is the luma.
        fit: how a frame gets that size.
    """

    size: Size = 224
    scale: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Channels = Channels.RGB
    fit: Fit = Fit.CROP

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _checked_size(self.size))
        for name, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            values = getattr(self, name) or _reordered(usual, Channels.RGB, self.channels)
            if len(values) == 1:
                values *= self.channels.number
            object.__setattr__(self, name, values)
        if not (_is_real(self.scale) and self.scale > 0):
            raise ConfigError(
                f"scale must be a number above 0, to {_LARGEST:g}, got {self.scale!r}"
            )
        wrong_gray = self.channels is Channels.GRAY and len(self.mean) != 1
        if len(self.mean) != len(self.std) or wrong_gray:
            raise ConfigError(
                f"mean and std must have one value a channel ({self.channels.value}), got "
                f"{self.mean} and {self.std}"
            )
        if not all(map(_is_real, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise ConfigError(
                f"mean and std must be numbers, std above 0, not beyond {_LARGEST:g} or its "
                f"inverse, got {self.mean} and {self.std}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, H, W) of an image."""
        height, width = sides_of(self.size)
        return len(self.mean), height, width

    def changed(
        self,
        *,
        size: Any = None,
        scale: float | None = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        channels: str | None = None,
    ) -> InputSpec:
        """Return the spec with what is given, as people write it, in place of its own.

        Args:
            size: S, (H, W), "S" or "HxW".
            mean, std: one value, or one a channel in the order of the new channels. Where they are
                not given and the channels change, the old values follow: reversed for the other
                order, their average for gray.
            channels: rgb, bgr or gray.

        Raises:
            ConfigError: a value is out of range or not understood.
        """
        new = self.channels if channels is None else _channels(channels)
        return InputSpec(
            size=self.size if size is None else parse_size(size),
            scale=self.scale if scale is None else scale,
            mean=_reordered(self.mean, self.channels, new)
            if mean is None
            else per_channel(mean, new.number),
            std=_reordered(self.std, self.channels, new)
            if std is None
            else per_channel(std, new.number),
            channels=new,
            fit=self.fit,
        )

    def prepare(self, frame: Pixels) -> Images:
        """Return a frame (H, W, 3) uint8 RGB as an image (1, *shape).

        It is resized until it just covers the input (area averaging when shrinking) and the centre
        is cut out, so that shapes are not distorted; or, with `fit` stretch, resized to its size.
        """
        if self.fit is Fit.STRETCH:
            return self.normalise(stretch(frame, self.size)[None])
        return self.normalise(resize(frame, self.size)[None])

    def normalise(self, frames: Pixels) -> Images:
        """Return frames (n, H, W, 3) uint8 RGB as images (n, C, H, W).

        Frames with another number of channels are taken for the network's own.
        """
        if frames.shape[-1] == 3 and self.channels is Channels.GRAY:
            flat = np.ascontiguousarray(frames).reshape(-1, frames.shape[2], 3)
            gray = np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY), np.uint8)
            frames = gray.reshape(*frames.shape[:3], 1)
        elif self.channels is Channels.BGR:
            frames = frames[..., ::-1]
        return self.of_pixels(frames.transpose(0, 3, 1, 2))

    def of_pixels(self, channels: npt.NDArray[Any]) -> Images:
        """Return images of the network's channels (n, C, H, W), from 0 to 255."""
        values = np.array(channels, dtype=np.float32, order="C")
        values *= np.float32(1 / self.scale)
        mean, std = self._columns()
        values -= mean
        values /= std
        return values

    def pixels(self, images: Images) -> Images:
        """Return the network's channels (n, C, H, W) of normalised images, float32 in 0..255."""
        mean, std = self._columns()
        return (images * std + mean) * np.float32(self.scale)

    def _columns(self) -> tuple[Images, Images]:
        mean = np.asarray(self.mean, np.float32).reshape(1, -1, 1, 1)
        return mean, np.asarray(self.std, np.float32).reshape(1, -1, 1, 1)


def resize(frame: Pixels, size: Size) -> Pixels:
    """Return the centre (H', W', C) of a frame (H, W, C), of the size, undistorted."""
    high, wide = sides_of(size)
    height, width = frame.shape[:2]
    ratio = max(high / height, wide / width)
    # Of a line one pixel high, enlarged, only the middle is wanted; all of it may not fit.
    most_high, most_wide = round(_LONGEST * high / ratio), round(_LONGEST * wide / ratio)
    if height > most_high or width > most_wide:
        frame = _centre(frame, min(height, most_high), min(width, most_wide))
        height, width = frame.shape[:2]
    if ratio != 1:
        new = max(wide, round(width * ratio)), max(high, round(height * ratio))
        method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
        frame = np.asarray(cv2.resize(frame, new, interpolation=method), np.uint8)
    return _centre(frame, high, wide)


def stretch(frame: Pixels, size: Size) -> Pixels:
    """Return a whole frame (H, W, C) as (H', W', C), of the size."""
    high, wide = sides_of(size)
    if frame.shape[:2] == (high, wide):
        return frame
    shrinks = high * wide < frame.shape[0] * frame.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (wide, high), interpolation=method), np.uint8)


def parse_size(value: Any) -> Size:
    """Return the size that S, (H, W), "S" or "HxW" stands for.

    Raises:
        ConfigError: it is none of these, or out of range.
    """
    if isinstance(value, str):
        parts = value.lower().split("x")
        if all(part.isascii() and part.isdecimal() and len(part) < 9 for part in parts):
            value = tuple(map(int, parts)) if len(parts) > 1 else int(parts[0])
    return _checked_size(tuple(value) if isinstance(value, list) else value)


def sides_of(size: Size) -> tuple[int, int]:
    """Return (H, W)."""
    return size if isinstance(size, tuple) else (size, size)


def per_channel(values: Sequence[float] | float, channels: int = 3) -> tuple[float, ...]:
    """Return one value for each channel, of one for all or one for each.

    Raises:
        ConfigError: another number of values.
    """
    listed = np.ravel(values).tolist()
    if len(listed) not in (1, channels):
        expected = "1 value" if channels == 1 else f"1 or {channels} values"
        raise ConfigError(f"expected {expected}, one a channel, got {len(listed)}")
    return tuple(map(float, listed)) * (channels if len(listed) == 1 else 1)


def _is_real(value: Any) -> bool:
    """Tell whether a value is a number that float32 can compute with, as a divisor too."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return value == 0 or 1 / _LARGEST <= abs(value) <= _LARGEST


def _checked_size(size: Any) -> Size:
    """Return a size as `InputSpec` keeps it. Raises ConfigError where it is out of range."""
    sides = size if isinstance(size, tuple) else (size, size)
    sides = tuple(int(side) if isinstance(side, np.integer) else side for side in sides)
    if len(sides) != 2 or not all(_is_side(side) for side in sides):
        raise ConfigError(
            f"size must be a whole number from 1 to {_MOST_SIDE}, or two, as HxW, got "
            f"{quoted(size)}"
        )
    return sides[0] if sides[0] == sides[1] else sides


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_SIDE


def _centre(frame: Pixels, height: int, width: int) -> Pixels:
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]


def _channels(name: str) -> Channels:
    try:
        return Channels(name)
    except ValueError:
        known = ", ".join(channels.value for channels in Channels)
        raise ConfigError(f"channels must be one of {known}, got {name!r}") from None


def _reordered(values: tuple[float, ...], old: Channels, new: Channels) -> tuple[float, ...]:
    """Return values of the old channels for the new ones."""
    if old is new:
        return values
    if new is Channels.GRAY:
        return (sum(values) / len(values),)
    return values * 3 if old is Channels.GRAY else values[::-1]
