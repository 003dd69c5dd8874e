"""EATA (Niu et al., "Efficient Test-Time Model Adaptation without Forgetting", ICML 2022).

An image counts if its prediction is reliable and not redundant:

    H(p) < E_0 = 0.4 ln K          and          |cos(p, m)| < d,

m the running mean of the predictions that counted. Its loss is exp(E_0 - H) H, the factor constant
for the backward pass; the batch's is the mean over the images that count. Optionally a Fisher
regulariser keeps the parameters near the source (Eq. 8-9), beta sum_i F_i (theta_i - source_i)^2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.config import LossConfig
from edge_tta.method.hosts.base import ENTROPY_MARGIN, Host, HostLoss, entropy, mean_over
from edge_tta.method.state import State

SMOOTHING = 0.9
"""Of the mean prediction, from batch to batch."""

# The published d, by number of classes: CIFAR-10, CIFAR-100, ImageNet.
_SIMILARITY_MARGINS = ((10, 0.4), (100, 0.1), (1000, 0.05))


def similarity_margin(classes: int) -> float:
    """Return d for a number of classes: as published for 10, 100, 1000, between them a power law.

    Below 10 and above 1000 classes it is that of 10 and 1000.

    >>> [round(similarity_margin(classes), 3) for classes in (2, 10, 43, 100, 1000, 20_000)]
    [0.4, 0.4, 0.166, 0.1, 0.05, 0.05]
    """
    (low, upper), *rest = _SIMILARITY_MARGINS
    for high, lower in rest:
        if classes < high:
            share = max(0.0, math.log(classes / low) / math.log(high / low))
            return float(upper * (lower / upper) ** share)
        low, upper = high, lower
    return upper


def loss(logits: Tensor, state: State) -> HostLoss:
    """Return weighted entropies, both filters' mask, and the mean prediction of what counted."""
    classes = logits.shape[-1]
    reliable_below = ENTROPY_MARGIN * math.log(classes)
    h = entropy(logits)
    p = logits.detach().softmax(-1)
    mean = state["host.class_mean"]
    begun = mean.sum(-1, keepdim=True) > 0
    similarity = functional.cosine_similarity(p, mean.unsqueeze(-2), dim=-1).abs()
    various = (similarity < similarity_margin(classes)) | ~begun
    mask = (h.detach() < reliable_below) & various
    weight = (reliable_below - h.detach()).exp()
    count = mask.sum(-1, keepdim=True)
    here = torch.where(mask.unsqueeze(-1), p, torch.zeros_like(p)).sum(-2) / count.clamp_min(1)
    new = torch.where(begun, SMOOTHING * mean + (1 - SMOOTHING) * here, here)
    memory = {"host.class_mean": torch.where(count > 0, new, mean)}
    return HostLoss(mean_over(weight * h, mask), memory, mask)


def memory(classes: int, like: Tensor) -> State:
    """Return class_mean (K,): all zero until the first image counts."""
    return {"host.class_mean": like.new_zeros(classes)}


def make(table: LossConfig) -> Host:
    """Return the host, with its regulariser where that has a weight."""
    weight = table.fisher_weight

    def regulariser(parameters: Tensor, source: Tensor, state: State) -> Tensor:
        return 2 * weight * state["host.fisher"] * (parameters - source)

    return Host(loss, memory, filters=True, regulariser=regulariser if weight > 0 else None)
