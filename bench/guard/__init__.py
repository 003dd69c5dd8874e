"""Streams that are built to break adaptation, and what the guard makes of them."""
