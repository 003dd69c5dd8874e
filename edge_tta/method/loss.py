"""The loss of a batch: the host's, weighed and completed by NanoAdapt (Eq. 9).

    loss of an image = balance mask (certainty L_o + diversity E_p[excess])

certainty: min(1, 1/H) of Eq. 9. The rest is this project's, and off in the preset `paper`: balance
(`class_balance_weight`) and excess (ln of how many times more frequent than usual a class is),
where the calibration knows the classes; mask: images whose entropy is below a share of ln K, of at
most `CLASSES_IN_LIMIT`.

Axes: n images, views among them; K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.config import LossConfig
from edge_tta.method import accumulation
from edge_tta.method.calibration import Anchored, Calibration, class_balance
from edge_tta.method.calibration.anchored import unpacked
from edge_tta.method.hosts import HostLoss
from edge_tta.method.hosts.base import mean_over
from edge_tta.method.state import State

CLASSES_IN_LIMIT = 32
"""More classes are counted as so many: 0.4 ln K of a thousand lets images teach whose class is
mostly wrong."""


class Weights(NamedTuple):
    """Constants of a batch's loss: certainty and balance, (n,) each in (0, 1]; excess of the
    classes, (K,) from 0, None where nothing asks for it; mask of images that teach, (n,) bool;
    None: all."""

    certainty: Tensor
    balance: Tensor
    excess: Tensor | None
    mask: Tensor | None


@dataclass(frozen=True)
class Loss:
    """NanoAdapt's weights of a host's losses. Holds numbers, nothing that changes.

    Attributes:
        by_certainty: min(1, 1/H) weighs.
        diversity: weight of E_p[excess], >= 0.
        reliable_below: share of ln K, K at most `CLASSES_IN_LIMIT`; 0: every image teaches.
        smoothing: of the running frequency of classes; None: none is known.
    """

    by_certainty: bool
    diversity: float
    reliable_below: float
    smoothing: float | None

    def weights(self, logits: Tensor, state: State) -> Weights:
        """Return the weights of a batch, of logits (n, K)."""
        logits = logits.detach()
        certainty = balance = torch.ones_like(logits[..., 0])
        excess = mask = None
        if self.by_certainty:
            certainty = accumulation.entropy_weight(logits)
        if self.smoothing is not None:
            classes = unpacked(state).classes
            frequency = class_balance.shrunk_frequency(
                classes, self.smoothing, class_balance.PRIOR_FRAMES_IN_LOSS
            )
            balance = class_balance.class_balance_weight(logits.softmax(-1), frequency)
            if self.diversity:
                excess = class_balance.excess(classes, frequency, self.smoothing)
        if self.reliable_below:
            limit = self.reliable_below * math.log(min(logits.shape[-1], CLASSES_IN_LIMIT))
            mask = accumulation.entropy(logits) < limit
        return Weights(certainty, balance, excess, mask)

    def of_batch(self, logits: Tensor, host: HostLoss, weights: Weights) -> Tensor:
        """Return the mean loss, (), of logits (n, K) and the host's answer to them."""
        losses = weights.certainty * host.losses
        if self.diversity:
            assert weights.excess is not None  # the configuration was checked
            expected = (logits.softmax(-1) * weights.excess[..., None, :]).sum(-1)
            if host.mask is not None:  # a mean over the images that count, as the host's losses
                expected = mean_over(expected, host.mask)
            losses = losses + self.diversity * expected
        losses = weights.balance * losses
        # Not over the images that teach alone: the optimizer shortens its step by their share.
        return (losses if weights.mask is None else losses * weights.mask).mean(-1)


def make_loss(table: LossConfig, calibration: Calibration) -> Loss:
    """Return the loss that a configuration asks for."""
    return Loss(
        by_certainty=table.weighting == "ewga",
        diversity=table.diversity,
        reliable_below=table.reliable_below,
        smoothing=calibration.lasting_smoothing if isinstance(calibration, Anchored) else None,
    )


def both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Return the mask of images that count for both; None: all do."""
    if a is None or b is None:
        return b if a is None else a
    return a & b
