"""Operations that the lean executor runs together with a BatchNorm."""

from __future__ import annotations

from typing import NamedTuple

from edge_tta.network.lean.activations import IDENTITY, Activation
from edge_tta.network.lean.pooling import MaxPool


class Fused(NamedTuple):
    """Operations behind a BatchNorm, in their order, which alone read it.

    Attributes:
        activation: of the output, or of its sum with a residual.
        pool: behind an activation that clips.
        in_place: nothing else reads the BatchNorm's input, whose memory then holds the result.
    """

    activation: Activation = IDENTITY
    pool: MaxPool | None = None
    in_place: bool = False
