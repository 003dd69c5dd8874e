"""SAR (Niu et al., "Towards Stable Test-Time Adaptation in Dynamic Wild World", ICLR 2023).

An image counts if H(p) < E_0 = 0.4 ln C, at the parameters theta and also at theta + e, where

    e = radius g / |g|,       g the gradient at theta of the mean entropy of those that count there.

The gradient at theta + e, of the mean entropy of those that count at both, is what theta is moved
by. When the running mean of that entropy falls below 0.2 nats, the network is about to predict one
class with certainty, and goes back to the source.

The BatchNorms of the last stage are frozen (`edge_tta.network.resolution`). The running mean is
zero until the first image counts, and again after a recovery.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method.hosts.judging import Host, Judged, Memory, entropies, mean_of_kept

SMOOTHING = 0.9
"""Of the loss, from batch to batch."""


def judge(logits: Tensor, state: Memory, config: MethodConfig) -> Judged:
    """At the parameters themselves: the loss to ascend."""
    entropy = entropies(logits)
    kept = entropy.detach() < _reliable_below(logits, config)
    return Judged(mean_of_kept(entropy, kept), {}, kept)


def ascent(gradient: Tensor, radius: float) -> Tensor:
    """e, of g (..., P). Zero where nothing counted, and where g is not finite."""
    norm = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
    step = gradient * (radius / (norm + 1e-12))
    finite = torch.isfinite(step).all(-1, keepdim=True)
    return torch.where(finite, step, torch.zeros_like(step))


def judge_again(logits: Tensor, first: Judged, state: Memory, config: MethodConfig) -> Judged:
    """At the point of the ascent: the loss to descend, and its running mean."""
    assert first.kept is not None
    entropy = entropies(logits)
    kept = first.kept & (entropy.detach() < _reliable_below(logits, config))
    losses = mean_of_kept(entropy, kept)
    loss, mean = losses.detach().mean(-1), state["loss_mean"]
    news = torch.where(mean > 0, SMOOTHING * mean + (1 - SMOOTHING) * loss, loss)
    return Judged(losses, {"loss_mean": torch.where(kept.any(-1), news, mean)}, kept)


def recovers(state: Memory, config: MethodConfig) -> tuple[Memory, Tensor]:
    """Whether the running mean has fallen too low; it then begins anew."""
    mean = state["loss_mean"]
    low = (mean > 0) & (mean < config.recovery)
    return {"loss_mean": torch.where(low, torch.zeros_like(mean), mean)}, low


def memory(classes: int, like: Tensor) -> Memory:
    """loss_mean (): zero, nothing counted yet."""
    return {"loss_mean": like.new_zeros(())}


def _reliable_below(logits: Tensor, config: MethodConfig) -> float:
    return config.entropy_margin * math.log(logits.shape[-1])


HOST = Host(judge, memory, judge_again, filters=True, recovers=recovers)
