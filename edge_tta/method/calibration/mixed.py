"""Source and batch statistics mixed (alpha-BN, You et al., 2021), without memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from edge_tta.method.calibration.base import Choice, OneHistory, Rule, detached
from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm


class Mixed(OneHistory):
    """Blend (1 - alpha) source + alpha batch; the state keeps the latest, which `predict` uses."""

    def __init__(self, layers: Sequence[BatchNorm], alpha: float) -> None:
        super().__init__(layers)
        self._alpha = alpha

    def rule(self, state: State) -> Rule:
        """Return the mix, the same at every step."""

        def mixed(layer: BatchNorm, history: Moments, batch: Moments) -> Choice:
            used = mix((torch.zeros_like(history[0]), layer.variance), batch, self._alpha)
            return Choice(used, detached(used))

        return mixed


def mix(source: Moments, batch: Moments, alpha: float) -> Moments:
    """Return (1 - alpha) source + alpha batch, of means and of variances, term by term.

    Not Eq. 5: the gap between the two means adds nothing to the variance.
    """
    return (
        (1 - alpha) * source[0] + alpha * batch[0],
        (1 - alpha) * source[1] + alpha * batch[1],
    )
