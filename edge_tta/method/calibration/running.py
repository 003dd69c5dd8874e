"""Running statistics (NanoAdapt Eq. 5): the batch is blended into the history, then normalised."""

from __future__ import annotations

from collections.abc import Sequence

from edge_tta.method.calibration.base import Choice, OneHistory, Rule, detached
from edge_tta.method.moments import blend, smoothing_at
from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm


class Running(OneHistory):
    """Running statistics of Eq. 5; smoothing 0 is Pred BN.

    Args: as in `edge_tta.config.CalibrationConfig`.
    """

    def __init__(
        self, layers: Sequence[BatchNorm], smoothing: float, prior_frames: float, initial: str
    ) -> None:
        super().__init__(layers)
        self._smoothing, self._prior_frames, self._initial = smoothing, prior_frames, initial

    def rule(self, state: State) -> Rule:
        """Return Eq. 5 with the smoothing of a step."""
        steps = state["steps"]
        m = smoothing_at(steps, self._smoothing, self._prior_frames, self._initial)[..., None]

        def blended(layer: BatchNorm, history: Moments, batch: Moments) -> Choice:
            used = blend(history, batch, m)
            return Choice(used, detached(used))

        return blended
