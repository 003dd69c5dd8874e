"""Tells, without labels, whether adaptation does harm, and lets the source network answer then."""

from edge_tta.guard.guard import Event, Guard, Limits

__all__ = ["Event", "Guard", "Limits"]
