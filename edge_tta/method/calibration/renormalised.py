"""Running means and standard deviations, used before they are updated (DELTA's TBR).

TBR normalises with x^ = (x - mu_B) / sigma_B r + d, whose value is that of the running statistics;
its gradient is `edge_tta.method.gradient.renormalised`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edge_tta.method.calibration.base import Choice, OneHistory, Rule, detached
from edge_tta.method.moments import smoothing_at
from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm


class Renormalised(OneHistory):
    """DELTA's running statistics.

    Args: as in `edge_tta.config.CalibrationConfig`. The average runs from the first batch on; with
        initial = "first" that batch is normalised with its own statistics.
    """

    def __init__(
        self, layers: Sequence[BatchNorm], smoothing: float, prior_frames: float, initial: str
    ) -> None:
        super().__init__(layers)
        self._smoothing, self._prior_frames = smoothing, prior_frames
        self._begins_with_batch = initial == "first"

    def rule(self, state: State) -> Rule:
        """Return the history as it is, and then updated with the smoothing of a step."""
        m = smoothing_at(state["steps"], self._smoothing, self._prior_frames)[..., None]
        begins = (state["steps"] == 0)[..., None]
        seen: set[str] = set()

        def renormalised(layer: BatchNorm, history: Moments, batch: Moments) -> Choice:
            used, batch = history, detached(batch)
            if self._begins_with_batch and layer.name not in seen:
                used = (
                    torch.where(begins, batch[0], used[0]),
                    torch.where(begins, batch[1], used[1]),
                )
            seen.add(layer.name)
            return Choice(used, blend_deviations(used, batch, m, layer.eps))

        return renormalised


def blend_deviations(history: Moments, batch: Moments, smoothing: Tensor, eps: float) -> Moments:
    """Return DELTA's averages, of the mean and of the standard deviation sqrt(variance + eps)."""
    weight = 1 - smoothing
    deviation = smoothing * (history[1] + eps).sqrt() + weight * (batch[1] + eps).sqrt()
    # Rounding can push the square just below eps.
    variance = (deviation.square() - eps).clamp_min(0)
    return smoothing * history[0] + weight * batch[0], variance
