"""Deterministic pictures with the statistics of photographs: soft clouds and coloured shapes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def scenes(n: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """``n`` pictures, uint8 (n, side, side, 3), values about 20..235 so that little clips.

    Noise whose amplitude halves at each octave, as the spectrum of photographs falls, mostly shared
    by the three channels; six ellipses give edges.
    """
    rng = np.random.default_rng([seed, side])
    pictures = np.empty((n, side, side, 3), np.uint8)
    for picture in pictures:
        field = np.zeros((side, side, 3), np.float32)
        for octave in range(2, 6):
            cells = 2**octave
            coarse = rng.normal(size=(cells, cells, 1)) + 0.4 * rng.normal(size=(cells, cells, 3))
            field += cv2.resize(coarse.astype(np.float32), (side, side)) * 0.5**octave
        for _ in range(6):
            mask = np.zeros((side, side), np.float32)
            centre = rng.uniform(0, side, size=2).astype(int).tolist()
            axes = rng.uniform(side / 12, side / 4, size=2).astype(int).tolist()
            turn = float(rng.uniform(0, 180))
            cv2.ellipse(mask, centre, axes, turn, 0, 360, 1.0, -1, cv2.LINE_AA)
            field += mask[..., None] * rng.normal(scale=0.25, size=3).astype(np.float32)
        field = (field - field.mean()) / field.std()
        picture[...] = np.clip(127 + 40 * field, 20, 235).astype(np.uint8)
    return pictures


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean peak signal-to-noise ratio in dB over images (n, H, W, 3)."""
    error = ((a.astype(np.float64) - b) ** 2).mean(axis=(1, 2, 3))
    return float((10 * np.log10(255.0**2 / np.maximum(error, 1e-9))).mean())
