"""Running means of what is seen of a stream."""

from __future__ import annotations

from typing import Any


class Running:
    """Exponential mean over `memory` values, an even mean until so many have come.

    The values may be numbers or vectors of one length.
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.count = 0
        self.value: Any = 0.0

    def add(self, value: Any) -> None:
        """One more."""
        self.count += 1
        self.value = self.value + (value - self.value) / min(self.count, self.memory)
