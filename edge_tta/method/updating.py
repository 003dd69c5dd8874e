"""What a gradient does to the trained part of the state: accumulation, optimizer, recovery.

Axes: ... streams, if any; P trained parameters. Branches on data are arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method import accumulation
from edge_tta.method.hosts.eata import fisher_gradient
from edge_tta.method.optimizer import OPTIMIZERS
from edge_tta.method.state import State


def updated(
    state: State,
    news: Tensor,
    kept: Tensor | None,
    source: Tensor,
    frames: int,
    config: MethodConfig,
) -> State:
    """Parameters, optimizer and counters after one more gradient (Eq. 9).

    Args:
        news: gradient (..., P) of the batch's loss. One that is not finite counts as zero.
        kept: images that count, (..., n) bool; None: all do. A window of which none counts is
            completed without a step of the optimizer. Where `reliable` is set, a step is as much
            shorter as images did not count: Adam would make it as long for one as for all.
        source: the parameters before the first frame, (P,).
        frames: N of the batch.
    """
    position = state["position"] + 1
    ramp = accumulation.position_weight
    weight = (ramp if config.weighting == "ewga" else accumulation.even_weight)(
        position, config.accumulation
    )
    counted, images = None, 1
    if kept is not None:
        images = kept.shape[-1]
        counted = kept.sum(-1) * torch.isfinite(news).all(-1)
        if "fisher" in state:
            pull = fisher_gradient(
                state["parameters"], source, state["fisher"], config.fisher_weight
            )
            news = news + (counted > 0)[..., None] * pull
    finite = torch.isfinite(news).all(-1, keepdim=True)
    weighted = weight[..., None] * news
    total = state["gradient"] + torch.where(finite, weighted, torch.zeros_like(news))
    is_full = position >= config.accumulation
    count, does, part = state["updates"] + 1, is_full, None
    if counted is not None:
        counted = state["kept"] + counted
        count, does = state["applied"] + 1, is_full & (counted > 0)
        if config.reliable:
            part = (counted / (config.accumulation * images))[..., None]
    full, stepped = is_full[..., None], does[..., None]
    proposal = OPTIMIZERS[config.optimizer](
        state["parameters"],
        total,
        state["first"],
        state["second"],
        count[..., None],
        learning_rate(config, frames) * (1.0 if part is None else part),
    )
    new: State = {
        "parameters": torch.where(stepped, proposal.parameters, state["parameters"]),
        "first": torch.where(stepped, proposal.first, state["first"]),
        "second": torch.where(stepped, proposal.second, state["second"]),
        "gradient": torch.where(full, torch.zeros_like(total), total),
        "position": torch.where(is_full, torch.zeros_like(position), position),
        "updates": state["updates"] + is_full,
    }
    if counted is not None:
        new["kept"] = torch.where(is_full, torch.zeros_like(counted), counted)
        new["applied"] = state["applied"] + does
    if "change" in state:
        new["change"] = new["parameters"] - state["parameters"]
    return new


def recovered(
    new: State,
    source: Tensor,
    recovers: Callable[[State, MethodConfig], tuple[State, Tensor]],
    config: MethodConfig,
) -> State:
    """What a host's recovery changes: parameters and optimizer are the source's again.

    At the end of a window only, so that whether parameters may have moved needs no look at the
    state.
    """
    memory, low = recovers(new, config)
    back = (new["position"] == 0) & low
    row = back[..., None]
    found = {
        "parameters": torch.where(row, source, new["parameters"]),
        "first": torch.where(row, torch.zeros_like(new["first"]), new["first"]),
        "second": torch.where(row, torch.zeros_like(new["second"]), new["second"]),
        "applied": torch.where(back, torch.zeros_like(new["applied"]), new["applied"]),
        **{name: torch.where(back, value, new[name]) for name, value in memory.items()},
    }
    if "change" in new:
        found["change"] = new["change"] + found["parameters"] - new["parameters"]
    return found


def drift_of(parameters: Tensor, source: Tensor) -> float:
    """|parameters - source| / |source|, of one stream, (P,) each."""
    return float((parameters - source).norm() / source.norm())


def learning_rate(config: MethodConfig, frames: int) -> float:
    """The step size in a batch of N frames: min(1, N / reference_batch) of the configured one."""
    if not config.reference_batch:
        return config.learning_rate
    return config.learning_rate * min(1.0, frames / config.reference_batch)
