"""The Fisher diagonal of the source network, for EATA's regulariser (Niu et al., 2022, Eq. 9)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.method.step import Pass, Step


def fisher_diagonal(step: Step, images: Tensor, batch_size: int = 1) -> Tensor:
    """Mean squared gradient of the cross-entropy with the network's own predicted labels, (P,).

    The network is the source: its parameters and its statistics.

    Args:
        step: without streams.
        images: (M, channels, H, W).
        batch_size: images whose mean gradient is squared; 1 is Eq. 9.
    """
    assert step.streams is None
    state = step.initial_state()
    total = torch.zeros_like(state["parameters"])
    parts = torch.split(images, batch_size)
    for part in parts:
        at = state["parameters"].clone().requires_grad_()
        with torch.enable_grad():
            source = Pass(step, state, step.parameters.split(at), 1, moved=False, frozen=True)
            logits = source.run(part)
            loss = functional.cross_entropy(logits, logits.argmax(1))
            (gradient,) = torch.autograd.grad(loss, at)
        total += gradient.square()
    return total / len(parts)
