"""Tent (Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021)."""

from __future__ import annotations

from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method.hosts.judging import Host, Judged, Memory, entropies, no_memory


def judge(logits: Tensor, state: Memory, config: MethodConfig) -> Judged:
    """The loss of an image is the entropy of its prediction."""
    return Judged(entropies(logits), {})


HOST = Host(judge, no_memory)
