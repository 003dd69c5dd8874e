"""Weights of entropy-weighted gradient accumulation (EWGA, NanoAdapt Eq. 9).

    L = sum over i = 1..S of (r_i / S) min(1 / H(x_i), 1) L_o(x_i),
    r_i = (log S + log i) / (2 log S)

where min(1 / H, 1) is `entropy_weight`, which `loss.py` multiplies with L_o, the host's losses
(`hosts/`), and r_i / S is `position_weight`, by which `optimizer.py` adds a gradient to the sum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats of each softmax, (..., K) -> (...), in [0, log K]."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def entropy_weight(logits: Tensor) -> Tensor:
    """Return min(1 / H, 1) of each image, (..., K) -> (...), in (0, 1].

    A constant for the backward pass: were it differentiated, Tent's weighted loss would be
    min(H, 1), whose gradient vanishes just where the network is unsure.
    """
    return 1 / entropy(logits.detach()).clamp_min(1)


def position_weight(position: Tensor, window: int) -> Tensor:
    """Return r_i / S for position i in 1..S, a float32 scalar. S = 1, where r is 0/0, gives 1."""
    if window == 1:
        return torch.ones_like(position, dtype=torch.float32)
    log_window = math.log(window)
    return (log_window + position.to(torch.float32).log()) / (2 * log_window * window)


def even_weight(position: Tensor, window: int) -> Tensor:
    """Return 1 / S at every position: plain gradient accumulation."""
    return torch.full_like(position, 1 / window, dtype=torch.float32)


POSITION_WEIGHTS = {"ewga": position_weight, "mean": even_weight}
"""Weight of a gradient by its position among S, by `weighting`."""
