"""Choices a memory budget has, in their order, and the first that fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from edge_tta.config import LayersConfig, MethodConfig
from edge_tta.errors import ConfigError, EdgeTTAError

MIB = 2**20
_SHARES = (1.0, 0.5, 0.25, 0.125)
_SAID = {"speed": "profile speed", "memory": "profile memory"}


class BudgetError(EdgeTTAError):
    """A budget that no choice fits into."""


@dataclass(frozen=True)
class Plan:
    """One way to run.

    Attributes:
        saving: how tensors are saved for backward: their precision, or a bundle's profile.
        depth: BatchNorm layers that train, as of `LayersConfig`.
        given_up: how much, against what was asked for; for comparing plans.
    """

    views: int
    saving: str
    depth: float
    given_up: float

    def costing(self, needed_bytes: float) -> Choice:
        """Return it with what it needs."""
        return Choice(**asdict(self), needed_bytes=needed_bytes)


@dataclass(frozen=True)
class Choice(Plan):
    """A plan, and the peak of the process, or of the CUDA device's memory, that it needs."""

    needed_bytes: float

    def __str__(self) -> str:
        saving = _SAID.get(self.saving, self.saving)
        layers = f"{layers_of(self.depth)} train"
        return f"{self.views} views, {saving}, {layers}: {self.needed_bytes / MIB:.0f} MiB"


def plans(savings: Sequence[str], depths: Sequence[float], views: int) -> list[Plan]:
    """Return all plans, what gives up least first.

    The next saving counts 1, each view 1.2, the next depth 2.

    Args:
        savings, depths: what is wished most first; each depth half of the one before.
        views: as asked for; no more are planned.
    """
    made = [
        Plan(v, saving, depth, i + 1.2 * (views - v) + 2 * halvings)
        for (i, saving), (halvings, depth), v in itertools.product(
            enumerate(savings), enumerate(depths), range(views + 1)
        )
    ]
    return sorted(made, key=lambda plan: plan.given_up)


def layers_of(depth: float) -> str:
    """Return in words which layers train."""
    if 0 < depth < 1:
        return f"the upper {depth:.0%} of the layers"
    return f"the last {depth:g} layers" if depth else "all layers"


def depths_of(layers: int, asked: float = 0) -> list[float]:
    """Return depths to plan with: what was asked for (0: all of the layers), and halves of it."""
    most = LayersConfig(depth=asked).trained(layers) or layers
    halves = [max(1, round(share * most)) for share in _SHARES if share < 1]
    return [asked, *dict.fromkeys(half for half in halves if half < most)]


def chosen(choices: Iterable[Choice], budget_bytes: float) -> tuple[Choice, str]:
    """Return the first choice that fits, and the reason in a line; takes no more than needed.

    choices: what gives up least first; the first is what was asked for.

    Raises:
        BudgetError: nothing fits; the least that would be needed is in the message.
    """
    others: list[Choice] = []
    for choice in choices:
        if choice.needed_bytes <= budget_bytes:
            if not others:
                return choice, f"budget: as asked for fits: {choice}"
            return choice, f"budget: chose {choice}; as asked for would need {others[0]}"
        others.append(choice)
    least = min(others, key=lambda choice: choice.needed_bytes)
    raise BudgetError(
        f"--budget-mb {budget_bytes / MIB:.0f} cannot be met: the least is "
        f"{math.ceil(least.needed_bytes / MIB)} ({least}); raise the budget, or take a smaller "
        "network or --size"
    )


def check_learns(config: MethodConfig) -> None:
    """Checks that a memory budget has anything to choose.

    Raises:
        ConfigError: nothing is trained.
    """
    if not config.trains:
        raise ConfigError(
            f"--budget-mb shares out what learning costs, and {config.label} does not learn; "
            "leave it out"
        )
