"""Pseudo-labels (Lee, ICML 2013 workshop): sure predictions are taken for the truth."""

from __future__ import annotations

from torch import Tensor

from edge_tta.config import LossConfig
from edge_tta.method.hosts.base import Host, HostLoss, mean_over
from edge_tta.method.state import State

CONFIDENCE = 0.9
"""An image counts where its predicted class has at least this probability."""


def loss(logits: Tensor, state: State) -> HostLoss:
    """Return the cross-entropies with the predicted classes, and which images count."""
    log_p = logits.log_softmax(-1)
    p = log_p.detach().exp()
    likeliest = p.amax(-1)
    is_predicted = (p == likeliest[..., None]).to(p.dtype)
    mask = likeliest >= CONFIDENCE
    return HostLoss(mean_over(-(is_predicted * log_p).sum(-1), mask), {}, mask)


def make(table: LossConfig) -> Host:
    """Return the host."""
    return Host(loss, filters=True)
