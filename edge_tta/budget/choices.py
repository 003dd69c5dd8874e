"""Choices a budget has, in their order, and the first that fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from edge_tta.config import LayersConfig, MethodConfig
from edge_tta.errors import ConfigError, EdgeTTAError

MIB = 2**20
LONGEST_INTERVAL = 64
_SHARES = (1.0, 0.5, 0.25, 0.125)
_SAID = {"speed": "profile speed", "memory": "profile memory"}


class BudgetError(EdgeTTAError):
    """A budget that no choice fits into."""


@dataclass(frozen=True)
class Budget:
    """Limits of what a run may need, from 0. bytes: peak memory; seconds: mean time of a frame."""

    bytes: float = math.inf
    seconds: float = math.inf


@dataclass(frozen=True)
class Plan:
    """One way to run.

    Attributes:
        saving: how tensors are saved for backward: their precision, or a bundle's profile.
        depth: BatchNorm layers that train, as of `LayersConfig`.
        adapt_every: update interval in frames, from 1.
        given_up: how much, against what was asked for; for comparing plans.
    """

    views: int
    saving: str
    depth: float
    adapt_every: int
    given_up: float

    def costing(self, needed_bytes: float, observe_s: float, learn_s: float) -> Choice:
        """Return it with what it needs; seconds of a frame that only observes, and of one that
        learns."""
        mean_s = observe_s + max(0.0, learn_s - observe_s) / self.adapt_every
        return Choice(**asdict(self), needed_bytes=needed_bytes, needed_s=mean_s, longest_s=learn_s)


@dataclass(frozen=True)
class Choice(Plan):
    """A plan, and what it needs.

    Attributes:
        needed_bytes: peak of the process, or of the CUDA device's memory.
        needed_s: mean time of a frame; `longest_s` that of a frame that learns.
    """

    needed_bytes: float
    needed_s: float
    longest_s: float

    def fits(self, budget: Budget) -> bool:
        """Return whether it keeps within a budget."""
        return self.needed_bytes <= budget.bytes and self.needed_s <= budget.seconds

    def __str__(self) -> str:
        layers = f"{layers_of(self.depth)} train"
        interval = "" if self.adapt_every == 1 else f", every {self.adapt_every} frames"
        return (
            f"{self.views} views, {_SAID.get(self.saving, self.saving)}, {layers}{interval}: "
            f"{self.needed_bytes / MIB:.0f} MiB, {1e3 * self.needed_s:.1f} ms a frame "
            f"(longest {1e3 * self.longest_s:.1f})"
        )


def plans(
    savings: Sequence[str], depths: Sequence[float], views: int, adapt_every: int
) -> list[Plan]:
    """Return all plans, what gives up least first.

    The next saving counts 1, each view 1.2, half as often 1.5, the next depth 2.

    Args:
        savings, depths: what is wished most first; each depth half of the one before.
        views, adapt_every: as asked for; neither more views nor more learning is planned.
    """
    doublings = 1 + int(math.log2(max(1.0, LONGEST_INTERVAL / adapt_every)))
    made = []
    for (i, saving), (halvings, depth), v, doubling in itertools.product(
        enumerate(savings), enumerate(depths), range(views + 1), range(doublings)
    ):
        given_up = i + 1.2 * (views - v) + 2 * halvings + 1.5 * doubling
        made.append(Plan(v, saving, depth, adapt_every * 2**doubling, given_up))
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


def chosen(choices: Iterable[Choice], budget: Budget) -> tuple[Choice, str]:
    """Return the first choice that fits, and the reason in a line; takes no more than needed.

    choices: what gives up least first; the first is what was asked for.

    Raises:
        BudgetError: nothing fits; the smallest figures that would are in the message.
    """
    others: list[Choice] = []
    for choice in choices:
        if choice.fits(budget):
            if not others:
                return choice, f"budget: as asked for fits: {choice}"
            return choice, f"budget: chose {choice}; as asked for would need {others[0]}"
        others.append(choice)
    raise BudgetError(_refusal(others, budget))


def check_learns(config: MethodConfig) -> None:
    """Checks that a budget has anything to choose.

    Raises:
        ConfigError: nothing is trained.
    """
    if not config.trains:
        raise ConfigError(
            f"a budget shares out what learning costs, and {config.label} does not learn; "
            "leave --budget-mb and --budget-ms out"
        )


def _refusal(choices: Sequence[Choice], budget: Budget) -> str:
    least = min(choices, key=lambda c: c.needed_bytes)
    fastest = min(choices, key=lambda c: c.needed_s)
    said = []
    if least.needed_bytes > budget.bytes:
        said.append(
            f"--budget-mb {budget.bytes / MIB:.0f} cannot be met: the least is "
            f"{math.ceil(least.needed_bytes / MIB)} ({least})"
        )
    if fastest.needed_s > budget.seconds:
        said.append(
            f"--budget-ms {1e3 * budget.seconds:g} cannot be met: the least is "
            f"{_ms(fastest)} ({fastest})"
        )
    if not said:
        within = [choice for choice in choices if choice.needed_bytes <= budget.bytes]
        said.append(
            f"--budget-mb {budget.bytes / MIB:.0f} and --budget-ms {1e3 * budget.seconds:g} cannot "
            "be met together: within the memory the least is "
            f"{_ms(min(within, key=lambda c: c.needed_s))} ms"
        )
    return "; ".join(said) + "; raise the budget, or take a smaller network or --size"


def _ms(choice: Choice) -> str:
    return f"{math.ceil(1e4 * choice.needed_s) / 10:g}"
