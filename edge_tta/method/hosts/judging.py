"""What a host is. Axes: ... streams, if any; n images of each, views among them; C classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method import accumulation

# The host's own tensors of the state, by name.
Memory = dict[str, Tensor]


class Judged(NamedTuple):
    """A host's answer to a batch.

    losses: (..., n), their mean over n is the batch's loss.
    memory: the host's tensors after the batch.
    kept: (..., n) bool, the images that count; None: all do, always.
    """

    losses: Tensor
    memory: Memory
    kept: Tensor | None = None


@dataclass(frozen=True)
class Host:
    """A host by its pure functions.

    judge: of logits (..., n, C) and the state.
    memory: the host's tensors before the first batch, of C and a tensor to be like.
    again: sharpness-aware hosts judge once more, at the point that the first loss's gradient leads
        to: of the logits there, the first answer and the state. None: the first answer holds.
    filters: whether images may be left out, so that a batch may hold none that counts.
    recovers: of the memory: what it is then, and whether to go back to the source, (...) bool.
    """

    judge: Callable[[Tensor, Memory, MethodConfig], Judged]
    memory: Callable[[int, Tensor], Memory]
    again: Callable[[Tensor, Judged, Memory, MethodConfig], Judged] | None = None
    filters: bool = False
    recovers: Callable[[Memory, MethodConfig], tuple[Memory, Tensor]] | None = None


def entropies(logits: Tensor) -> Tensor:
    """Entropy in nats of each image's prediction, (..., n, C) -> (..., n)."""
    return accumulation.entropy(logits.flatten(0, -2)).view(logits.shape[:-1])


def mean_of_kept(losses: Tensor, kept: Tensor) -> Tensor:
    """Losses (..., n) whose mean over n is that of the kept ones; zeros where none is."""
    count = kept.sum(-1, keepdim=True).clamp_min(1).to(losses.dtype)
    share = losses.shape[-1] / count
    return torch.where(kept, losses, torch.zeros_like(losses)) * share


def no_memory(classes: int, like: Tensor) -> Memory:
    """Of a host that remembers nothing."""
    return {}
