"""Frames to measure with: of a source, or drawn ones that cost nothing to read."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from edge_tta.demo.source import DEMO
from edge_tta.errors import SourceError
from edge_tta.frames import open_source
from edge_tta.prepare import Pixels

SIDES = (480, 640)
"""Height and width of drawn frames."""


def frames_of(source: str | None, seed: int = 0) -> Iterator[Pixels]:
    """Frames (H, W, 3) uint8 without end: of the source again and again, or drawn.

    Raises:
        SourceError: the source cannot be opened, or gives no frame.
    """
    if source is None:
        yield from _drawn(seed)
        return
    while True:
        count = 0
        with open_source(source, more=DEMO) as opened:
            while (frame := opened.read()) is not None:
                count += 1
                yield frame.pixels
        if not count:
            raise SourceError(
                f"{opened.name} gives no frame; expected a video, pictures or a camera"
            )


def _drawn(seed: int) -> Iterator[Pixels]:
    """Coarse and fine noise, smooth enough to be like a picture; sixteen of them in turn."""
    rng = np.random.default_rng(seed)
    height, width = SIDES
    pictures = []
    for _ in range(16):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        big = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        fine = rng.normal(0, 12, (height, width, 3))
        pictures.append(np.clip(big + fine, 0, 255).astype(np.uint8))
    while True:
        for picture in pictures:
            yield picture.copy()
