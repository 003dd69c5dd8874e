"""EATA (Niu et al., "Efficient Test-Time Model Adaptation without Forgetting", ICML 2022).

An image counts if its prediction is reliable and not redundant:

    H(p) < E_0 = 0.4 ln C          and          |cos(p, m)| < d,

m the running mean of the predictions that counted. Its loss is exp(E_0 - H) H, the factor constant
for the backward pass; the batch's is the mean over the images that count. Optionally a Fisher
regulariser keeps the parameters near the source (Eq. 8-9), beta sum_i F_i (theta_i - source_i)^2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.config import MethodConfig
from edge_tta.method.hosts.judging import Host, Judged, Memory, entropies, mean_of_kept

SMOOTHING = 0.9
"""Of the mean prediction, from batch to batch."""

# The published d, by number of classes: CIFAR-10, CIFAR-100, ImageNet.
_SIMILARITY_MARGINS = ((10, 0.4), (100, 0.1), (1000, 0.05))


def similarity_margin(classes: int) -> float:
    """d for a number of classes: as published for 10, 100 and 1000, and between them a power law.

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


def judge(logits: Tensor, state: Memory, config: MethodConfig) -> Judged:
    """Both filters, the weighted entropies, and the mean prediction of what counted."""
    classes = logits.shape[-1]
    reliable_below = config.entropy_margin * math.log(classes)
    similar_from = config.similarity_margin or similarity_margin(classes)
    entropy = entropies(logits)
    p = logits.detach().softmax(-1)
    mean = state["class_mean"]
    begun = mean.sum(-1, keepdim=True) > 0
    similarity = functional.cosine_similarity(p, mean.unsqueeze(-2), dim=-1).abs()
    kept = (entropy.detach() < reliable_below) & ((similarity < similar_from) | ~begun)
    weight = (reliable_below - entropy.detach()).exp()
    count = kept.sum(-1, keepdim=True)
    found = torch.where(kept.unsqueeze(-1), p, torch.zeros_like(p)).sum(-2) / count.clamp_min(1)
    news = torch.where(begun, SMOOTHING * mean + (1 - SMOOTHING) * found, found)
    memory = {"class_mean": torch.where(count > 0, news, mean)}
    return Judged(mean_of_kept(weight * entropy, kept), memory, kept)


def fisher_gradient(parameters: Tensor, source: Tensor, fisher: Tensor, weight: float) -> Tensor:
    """Of the regulariser, all (..., P): 2 beta F (theta - source), beta the `weight`."""
    return 2 * weight * fisher * (parameters - source)


def memory(classes: int, like: Tensor) -> Memory:
    """class_mean (C,): all zero until the first image counts."""
    return {"class_mean": like.new_zeros(classes)}


HOST = Host(judge, memory, filters=True)
