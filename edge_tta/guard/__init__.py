"""Notices, without labels, when adaptation does harm, and falls back to the source network."""

from edge_tta.guard.guard import Event, Guard
from edge_tta.guard.judge import Limits

__all__ = ["Event", "Guard", "Limits"]
