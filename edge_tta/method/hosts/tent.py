"""Tent (Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021)."""

from __future__ import annotations

from torch import Tensor

from edge_tta.config import LossConfig
from edge_tta.method.hosts.base import Host, HostLoss, entropy
from edge_tta.method.state import State


def loss(logits: Tensor, state: State) -> HostLoss:
    """Return the entropies of the predictions."""
    return HostLoss(entropy(logits), {})


def make(table: LossConfig) -> Host:
    """Return the host."""
    return Host(loss)
