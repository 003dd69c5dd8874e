"""SAR (Niu et al., "Towards Stable Test-Time Adaptation in Dynamic Wild World", ICLR 2023).

An image counts if H(p) < E_0 = 0.4 ln K, at the parameters theta and also at theta + e, where

    e = 0.05 g / |g|,        g the gradient at theta of the mean entropy of those that count there.

The gradient at theta + e, of the mean entropy of those that count at both, is what theta is changed
by. When the running mean of that entropy falls below 0.2 nats, the network is about to predict one
class with certainty, and goes back to the source.

The BatchNorms of the last stage are not trained (`edge_tta.network.resolution`). The running mean
is zero until the first image counts, and again after a recovery.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edge_tta.config import LossConfig
from edge_tta.method.hosts.base import (
    ENTROPY_MARGIN,
    Host,
    HostLoss,
    SecondPass,
    entropy,
    mean_over,
)
from edge_tta.method.state import State
from edge_tta.network.resolution import before_last_stage

SMOOTHING = 0.9
"""Of the loss, from batch to batch."""

ASCENT_RADIUS = 0.05
RECOVERY_BELOW_NATS = 0.2


def loss(logits: Tensor, state: State) -> HostLoss:
    """Return the loss to ascend, at the parameters themselves."""
    h = entropy(logits)
    mask = h.detach() < ENTROPY_MARGIN * math.log(logits.shape[-1])
    return HostLoss(mean_over(h, mask), {}, mask)


def ascent(gradient: Tensor) -> Tensor:
    """Return e, of g (P,). Zero where nothing counted, and where g is not finite."""
    norm = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
    step = gradient * (ASCENT_RADIUS / (norm + 1e-12))
    finite = torch.isfinite(step).all(-1, keepdim=True)
    return torch.where(finite, step, torch.zeros_like(step))


def loss_after_ascent(logits: Tensor, first: HostLoss, state: State) -> HostLoss:
    """Return the loss to descend, at the point of the ascent, and its running mean."""
    assert first.mask is not None
    h = entropy(logits)
    mask = first.mask & (h.detach() < ENTROPY_MARGIN * math.log(logits.shape[-1]))
    losses = mean_over(h, mask)
    here, mean = losses.detach().mean(-1), state["host.loss_mean"]
    new = torch.where(mean > 0, SMOOTHING * mean + (1 - SMOOTHING) * here, here)
    return HostLoss(losses, {"host.loss_mean": torch.where(mask.any(-1), new, mean)}, mask)


def recovery(state: State) -> tuple[State, Tensor]:
    """Return the running mean after a recovery, and whether it has fallen too low."""
    mean = state["host.loss_mean"]
    low = (mean > 0) & (mean < RECOVERY_BELOW_NATS)
    return {"host.loss_mean": torch.where(low, torch.zeros_like(mean), mean)}, low


def memory(classes: int, like: Tensor) -> State:
    """Return loss_mean (): zero, nothing counted yet."""
    return {"host.loss_mean": like.new_zeros(())}


def make(table: LossConfig) -> Host:
    """Return the host."""
    return Host(
        loss,
        memory,
        filters=True,
        second_pass=SecondPass(ascent, loss_after_ascent),
        recovery=recovery,
        sites=before_last_stage,
    )
