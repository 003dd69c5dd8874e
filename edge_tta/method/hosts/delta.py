"""DELTA (Zhao, Chen, Xia: "Degradation-Free Fully Test-Time Adaptation", ICLR 2023).

Its two parts:

- TBR, test-time batch renormalization: `calibration` and `gradient` = `renormalised`. NanoAdapt's
  own calibration stands in its place where DELTA is the host.
- DOT, dynamic online re-weighting: the entropy of an image weighs 1 / z, z the running frequency of
  its predicted class; the weights of a batch have mean one. A batch of one image weighs one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edge_tta.config import LossConfig
from edge_tta.method.hosts.base import Host, HostLoss, entropy
from edge_tta.method.state import State

SMOOTHING = 0.95
"""Of the class frequencies, from batch to batch."""


def loss(logits: Tensor, state: State) -> HostLoss:
    """Return the re-weighted entropies; frequencies are those before the batch."""
    frequency = state["host.class_mean"]
    p = logits.detach().softmax(-1)
    # Frequencies of classes that are never predicted decay towards zero.
    weight = 1 / frequency.gather(-1, p.argmax(-1)).clamp_min(1e-30)
    weight = weight / weight.mean(-1, keepdim=True)
    new = SMOOTHING * frequency + (1 - SMOOTHING) * p.mean(-2)
    return HostLoss(weight * entropy(logits), {"host.class_mean": new})


def memory(classes: int, like: Tensor) -> State:
    """Return class_mean (K,): every class is as frequent."""
    return {"host.class_mean": torch.full_like(like.new_empty(classes), 1 / classes)}


def make(table: LossConfig) -> Host:
    """Return the host."""
    return Host(loss, memory)
