"""Optimizers as pure functions on one flat parameter vector (P,)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


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
    """Stochastic gradient descent with momentum 0.9 (kept in `first`; `second` is unused)."""
    first = 0.9 * first + gradient
    return Update(parameters - learning_rate * first, first, second)


OPTIMIZERS = {"adam": adam, "sgd": sgd}
