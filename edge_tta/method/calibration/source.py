"""The source's statistics, always: no calibration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch

from edge_tta.method.calibration.base import Collected
from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm


class Source:
    """Remembers nothing."""

    by_frame = False
    unused: Collection[str] = ()

    def __init__(self, layers: Sequence[BatchNorm]) -> None:
        variance = torch.cat([layer.variance for layer in layers])
        self._statistics = torch.zeros_like(variance), variance

    def initial(self) -> State:
        """Return nothing."""
        return {}

    def statistics(self, state: State) -> Moments:
        """Return the source's statistics."""
        return self._statistics

    def expected(self, state: State) -> Moments:
        """Return the source's."""
        return self._statistics

    def rule(self, state: State) -> None:
        """Return none."""

    def shifted(self, state: State, shift: Callable[[Moments], Moments]) -> State:
        """Return nothing."""
        return {}

    def updated(self, state: State, collected: Collected) -> State:
        """Return nothing."""
        return {}
