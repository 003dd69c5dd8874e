"""Results for people and programs: overlay, window, video file, JSON lines."""

from edge_tta.show.jsonl import JsonlWriter
from edge_tta.show.overlay import Overlay, Tone, draw, enlarged
from edge_tta.show.video import VideoRecorder
from edge_tta.show.window import Window, display_problem

__all__ = [
    "JsonlWriter",
    "Overlay",
    "Tone",
    "VideoRecorder",
    "Window",
    "display_problem",
    "draw",
    "enlarged",
]
