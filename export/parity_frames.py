"""Frames that a bundle is compared with PyTorch on: the user's, or made ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from edge_tta.prepare import Images, InputSpec


def repeated(spec: InputSpec, frames: Sequence[Images] | None, count: int) -> Iterator[Images]:
    """Yield so many images: the frames in turn, or made ones."""
    rng = np.random.default_rng(0)
    for i in range(count):
        yield frames[i % len(frames)] if frames else _made(spec, rng)


def _made(spec: InputSpec, rng: np.random.Generator) -> Images:
    """A picture of soft patches and some noise, darker or lighter than the last."""
    channels, height, width = spec.shape
    coarse = rng.uniform(0, 255, (6, 6, channels)).astype(np.float32)
    soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = soft.reshape(height, width, channels)
    noisy = soft * rng.uniform(0.4, 1.2) + rng.normal(0, 8, soft.shape)
    return spec.normalise(np.clip(noisy, 0, 255).astype(np.uint8)[None])
