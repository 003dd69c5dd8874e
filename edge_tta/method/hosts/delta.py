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

from edge_tta.config import MethodConfig
from edge_tta.method.hosts.judging import Host, Judged, Memory, entropies

SMOOTHING = 0.95
"""Of the class frequencies, from batch to batch."""


def judge(logits: Tensor, state: Memory, config: MethodConfig) -> Judged:
    """The re-weighted entropies; frequencies are those before the batch."""
    frequency = state["class_mean"]
    p = logits.detach().softmax(-1)
    # Frequencies of classes that are never predicted decay towards zero.
    weight = 1 / frequency.gather(-1, p.argmax(-1)).clamp_min(1e-30)
    weight = weight / weight.mean(-1, keepdim=True)
    news = SMOOTHING * frequency + (1 - SMOOTHING) * p.mean(-2)
    return Judged(weight * entropies(logits), {"class_mean": news})


def memory(classes: int, like: Tensor) -> Memory:
    """class_mean (C,): every class is as frequent."""
    return {"class_mean": torch.full_like(like.new_empty(classes), 1 / classes)}


HOST = Host(judge, memory)
