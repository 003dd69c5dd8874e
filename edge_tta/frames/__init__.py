"""Streams of frames: cameras, videos, pictures, addresses."""

from edge_tta.frames.capture import LiveSource
from edge_tta.frames.opening import open_source, seems_live
from edge_tta.frames.pacing import PacedSource
from edge_tta.frames.source import Frame, FrameSource, Pick, Pixels, RateLimit

__all__ = [
    "Frame",
    "FrameSource",
    "LiveSource",
    "PacedSource",
    "Pick",
    "Pixels",
    "RateLimit",
    "open_source",
    "seems_live",
]
