"""The Fisher diagonal of the source network, for EATA's regulariser (Niu et al., 2022, Eq. 9)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edge_tta.method.forward import Fixed
from edge_tta.method.step import Step


def fisher_diagonal(step: Step, images: Tensor, batch_size: int = 1) -> Tensor:
    """Return the mean squared gradient of the cross-entropy with the predicted labels, (P,).

    The network is the source: its parameters and its statistics.

    Args:
        images: (M, channels, H, W).
        batch_size: images whose mean gradient is squared; 1 is Eq. 9.
    """
    source = step.source_parameters()
    used = step.calibration.statistics(step.initial_state())
    total = torch.zeros_like(source)
    parts = torch.split(images, batch_size)
    for part in parts:
        vector = source.clone().requires_grad_()
        with torch.enable_grad():
            hook = Fixed(step.program, step.parameters.split(vector), used)
            logits = step.program.votes(step.program.run(part, hook))
            loss = functional.cross_entropy(logits, logits.argmax(1))
            (gradient,) = torch.autograd.grad(loss, vector)
        total += gradient.square()
    return total / len(parts)
