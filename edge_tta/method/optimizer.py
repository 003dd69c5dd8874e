"""Updates of the trained parameters: accumulation (Eq. 9), then an optimizer's step, after which
they go back some of the way to the source's (`forgetting`).

The parameters are one flat vector (P,). In the state, under keys that begin with `opt.`: the
parameters, the gradient accumulated since the last update, two moments, and counters: `position`
of Eq. 9, `updates` (windows of S completed), and, where images may be left out, `applied`
(optimizer steps) and `counted`, the sum of the shares of images that counted in each batch since
the last update. Branches on data are arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from edge_tta.config import MethodConfig
from edge_tta.method.accumulation import POSITION_WEIGHTS
from edge_tta.method.hosts import Host
from edge_tta.method.state import State

# What a step moves, in the order of `Update`.
_MOVED = ("opt.parameters", "opt.first_moment", "opt.second_moment")


class Update(NamedTuple):
    """New parameters, and the optimizer's two moments (P,) after the step."""

    parameters: Tensor
    first: Tensor
    second: Tensor


def adam(
    parameters: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    count: Tensor,
    learning_rate: float | Tensor,
) -> Update:
    """Adam (Kingma & Ba, 2015) with betas 0.9, 0.999 and eps 1e-8; `count` is from 1."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    t = count.to(torch.float32)
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient * gradient
    # -expm1(t log b) is 1 - b^t without its cancellation in float32.
    correction1 = -torch.expm1(t * math.log(beta1))
    correction2 = -torch.expm1(t * math.log(beta2))
    step = (first / correction1) / ((second / correction2).sqrt() + eps)
    return Update(parameters - learning_rate * step, first, second)


def sgd(
    parameters: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    count: Tensor,
    learning_rate: float | Tensor,
) -> Update:
    """Stochastic gradient descent with momentum 0.9 (stored in `first`; `second` is unused)."""
    first = 0.9 * first + gradient
    return Update(parameters - learning_rate * first, first, second)


RULES: dict[str, Callable[..., Update]] = {"adam": adam, "sgd": sgd}


@dataclass(frozen=True)
class Optimizer:
    """Accumulates gradients and steps. Holds numbers, nothing that changes.

    Attributes:
        rule: `adam` or `sgd`.
        position_weight: of Eq. 9, one of `accumulation.POSITION_WEIGHTS`.
        accumulation: S, gradients from one step to the next.
        learning_rate: of a step; of N < reference_batch frames, N / reference_batch of it.
        forgetting: share of the way back to the source that the parameters go at each step, of one
            that is shortened as much less.
        filters: images may be left out, so that a window may hold none that counts.
        shortens: a step is multiplied by the mean share of images that counted, which Adam would
            make as long for one as for all.
        host: for its regulariser and its recovery.
    """

    rule: Callable[..., Update]
    position_weight: Callable[[Tensor, int], Tensor]
    accumulation: int
    learning_rate: float
    reference_batch: int
    forgetting: float
    filters: bool
    shortens: bool
    host: Host

    def initial(self, parameters: Tensor) -> State:
        """Return the state before the first gradient; parameters: the source's, (P,)."""
        zero = torch.zeros((), dtype=torch.int64, device=parameters.device)
        state = {
            "opt.parameters": parameters.clone(),
            "opt.gradient": torch.zeros_like(parameters),
            "opt.first_moment": torch.zeros_like(parameters),
            "opt.second_moment": torch.zeros_like(parameters),
            "opt.position": zero,
            "opt.updates": zero.clone(),
        }
        if self.filters:
            none = torch.zeros_like(zero, dtype=parameters.dtype)
            state |= {"opt.counted": none, "opt.applied": zero.clone()}
        return state

    def updated(
        self, state: State, gradient: Tensor, mask: Tensor | None, source: Tensor, frames: int
    ) -> State:
        """Return parameters, moments and counters after one more gradient.

        Args:
            gradient: (P,), of the batch's loss. One that is not finite counts as zero, and a step
                that is not is left out.
            mask: images that count, (n,) bool; None: all do. A window of which none counts is
                completed without a step.
            source: the parameters before the first frame, (P,).
            frames: N of the batch.
        """
        position = state["opt.position"] + 1
        is_full = position >= self.accumulation
        count, moves, counted = state["opt.updates"] + 1, is_full, None
        length: float | Tensor = 1.0  # of the step, 0 to 1
        if mask is not None:
            counted, gradient = self._filtered(state, gradient, mask, source)
            count, moves = state["opt.applied"] + 1, is_full & (counted > 0)
            if self.shortens:
                length = (counted / self.accumulation)[..., None]
        total = self._accumulated(state["opt.gradient"], gradient, position)
        parameters, first, second = (state[name] for name in _MOVED)
        step_size = length * self.step_size(frames)
        proposal = self.rule(parameters, total, first, second, count[..., None], step_size)
        if self.forgetting:
            kept = source + (1 - length * self.forgetting) * (proposal.parameters - source)
            proposal = proposal._replace(parameters=kept)
        for part in proposal:
            moves = moves & torch.isfinite(part).all(-1)
        full, moved = is_full[..., None], moves[..., None]
        new: State = {
            **{n: torch.where(moved, v, state[n]) for n, v in zip(_MOVED, proposal, strict=True)},
            "opt.gradient": torch.where(full, torch.zeros_like(total), total),
            "opt.position": torch.where(is_full, torch.zeros_like(position), position),
            "opt.updates": state["opt.updates"] + is_full,
        }
        if counted is not None:
            new["opt.counted"] = torch.where(is_full, torch.zeros_like(counted), counted)
            new["opt.applied"] = state["opt.applied"] + moves
        return new

    def _filtered(
        self, state: State, gradient: Tensor, mask: Tensor, source: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the window's shares of images that count, (), and the regularised
        gradient."""
        here = mask.to(gradient.dtype).mean(-1) * torch.isfinite(gradient).all(-1)
        if self.host.regulariser is not None:
            pull = self.host.regulariser(state["opt.parameters"], source, state)
            gradient = gradient + (here > 0)[..., None] * pull
        return state["opt.counted"] + here, gradient

    def _accumulated(self, before: Tensor, gradient: Tensor, position: Tensor) -> Tensor:
        """Return Eq. 9's sum with one more gradient, (P,): r_i / S of position i weighs it."""
        total = before + self.position_weight(position, self.accumulation)[..., None] * gradient
        return torch.where(torch.isfinite(total).all(-1, keepdim=True), total, before)

    def recovered(self, new: State, source: Tensor) -> State:
        """Return what a host's recovery changes: parameters and moments are the source's again.

        At the end of a window only, so that parameters change nowhere else.
        """
        if self.host.recovery is None:
            return {}
        memory, low = self.host.recovery(new)
        back = (new["opt.position"] == 0) & low
        row = back[..., None]
        zeros = torch.zeros_like(new["opt.first_moment"])
        return {
            "opt.parameters": torch.where(row, source, new["opt.parameters"]),
            "opt.first_moment": torch.where(row, zeros, new["opt.first_moment"]),
            "opt.second_moment": torch.where(row, zeros, new["opt.second_moment"]),
            "opt.applied": torch.where(
                back, torch.zeros_like(new["opt.applied"]), new["opt.applied"]
            ),
            **{name: torch.where(back, value, new[name]) for name, value in memory.items()},
        }

    def step_size(self, frames: int) -> float:
        """Return the step size in a batch of N frames."""
        if not self.reference_batch:
            return self.learning_rate
        return self.learning_rate * min(1.0, frames / self.reference_batch)


def make_optimizer(config: MethodConfig, host: Host) -> Optimizer:
    """Return the optimizer that a configuration asks for."""
    table = config.optimizer
    return Optimizer(
        rule=RULES[table.kind],
        position_weight=POSITION_WEIGHTS[config.loss.weighting],
        accumulation=table.accumulation,
        learning_rate=table.learning_rate,
        reference_batch=table.reference_batch,
        forgetting=table.forgetting,
        filters=host.filters or config.loss.reliable_below > 0,
        shortens=config.loss.reliable_below > 0 and table.kind == "adam",
        host=host,
    )
