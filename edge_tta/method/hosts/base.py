"""Interface of hosts. Axes: n images, views among them; K classes; P trained parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.method.accumulation import entropy
from edge_tta.method.state import State
from edge_tta.network.program import Site

ENTROPY_MARGIN = 0.4
"""EATA and SAR leave out images whose entropy is this share of ln K or more."""


class HostLoss(NamedTuple):
    """A host's answer to a batch.

    losses: (n,), their mean is the batch's loss.
    memory: the host's tensors after the batch, under keys that begin with `host.`.
    mask: (n,) bool, the images that count; None: all do, always.
    """

    losses: Tensor
    memory: State
    mask: Tensor | None = None


class SecondPass(NamedTuple):
    """A second forward and backward pass, at other parameters.

    offset: from the parameters to those, (P,), by the first loss's gradient (P,).
    loss: there, of logits (n, K), the first answer and the state; it replaces the first.
    """

    offset: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, HostLoss, State], HostLoss]


def no_memory(classes: int, like: Tensor) -> State:
    """Return nothing: the host remembers nothing from batch to batch."""
    return {}


@dataclass(frozen=True)
class Host:
    """A host by its pure functions; all but `loss` are hooks that most leave out.

    Attributes:
        loss: of logits (n, K) and the state.
        memory: the host's tensors before the first batch, of K and a tensor to be like.
        filters: images may be left out.
        second_pass: for hosts that descend from another point.
        recovery: of the state after an update: the host's tensors after a recovery, and whether to
            go back to the source, () bool.
        regulariser: gradient (P,) that is added where images count, of the parameters, the
            source's and the state.
        sites: those of the network's BatchNorm sites that train.
    """

    loss: Callable[[Tensor, State], HostLoss]
    memory: Callable[[int, Tensor], State] = no_memory
    filters: bool = False
    second_pass: SecondPass | None = None
    recovery: Callable[[State], tuple[State, Tensor]] | None = None
    regulariser: Callable[[Tensor, Tensor, State], Tensor] | None = None
    sites: Callable[[Sequence[Site]], Sequence[Site]] = tuple


def mean_over(losses: Tensor, mask: Tensor) -> Tensor:
    """Return losses (n,) whose mean over n is that of the masked ones; zeros where there are none.

    mask: (n,) bool, True where an image counts.
    """
    count = mask.sum(-1, keepdim=True).clamp_min(1).to(losses.dtype)
    share = losses.shape[-1] / count
    return torch.where(mask, losses, torch.zeros_like(losses)) * share


__all__ = [
    "ENTROPY_MARGIN",
    "Host",
    "HostLoss",
    "SecondPass",
    "entropy",
    "mean_over",
    "no_memory",
]
