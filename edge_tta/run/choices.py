"""What a budget may choose among: in which order, and the first that fits.

How costs are measured is not known here: `edge_tta.run.budget` does it for models that PyTorch
runs, `export.budget` for bundles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from edge_tta.config import MethodConfig
from edge_tta.errors import ConfigError, EdgeTTAError

MIB = 2**20
MOST_FRAMES_APART = 64
_SHARES = (1.0, 0.5, 0.25, 0.125)
_SAID = {"speed": "profile speed", "memory": "profile memory"}


class BudgetError(EdgeTTAError):
    """A budget that no choice fits into."""


@dataclass(frozen=True)
class Plan:
    """What a run could do.

    Attributes:
        views_at_a_time: views of a frame that learn together, the frame among them; 0: all.
        saving: how what waits for the backward pass is kept: its precision, or a bundle's profile.
        depth: BatchNorm layers that train, 0: all.
        loss: how much is given up against what was asked for, for comparing plans.
    """

    views: int
    views_at_a_time: int
    saving: str
    depth: int
    adapt_every: int
    loss: float

    @property
    def together(self) -> int:
        """Views of a frame that learn together, the frame among them."""
        return min(self.views_at_a_time or 1 + self.views, 1 + self.views)

    def costing(self, needed_bytes: float, observe_s: float, learn_s: float) -> Choice:
        """With what it needs; seconds of a frame that only observes, and of one that learns."""
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

    def fits(self, budget_bytes: float | None, budget_s: float | None) -> bool:
        """Whether it keeps within a budget; None: unlimited."""
        in_memory = budget_bytes is None or self.needed_bytes <= budget_bytes
        return in_memory and (budget_s is None or self.needed_s <= budget_s)

    def __str__(self) -> str:
        layers = f"the last {self.depth} layers train" if self.depth else "all layers train"
        rhythm = "" if self.adapt_every == 1 else f", every {self.adapt_every} frames"
        apart = "" if self.together > self.views else f" ({self.together} at a time)"
        return (
            f"{self.views} views{apart}, {_SAID.get(self.saving, self.saving)}, {layers}{rhythm}: "
            f"{self.needed_bytes / MIB:.0f} MiB, {1e3 * self.needed_s:.1f} ms a frame "
            f"(longest {1e3 * self.longest_s:.1f})"
        )


def plans(
    savings: Sequence[str],
    depths: Sequence[int],
    views: int,
    adapt_every: int,
    at_a_time: Sequence[int] = (0,),
) -> list[Plan]:
    """All plans, what gives up least first.

    Fewer views at a time count 0.5, the next saving 1, each view 1.2, half as often 1.5, the next
    depth 2.

    Args:
        savings, depths, at_a_time: what is wished most first; each depth half of the one before.
        views, adapt_every: as asked for; neither more views nor more learning is planned.
    """
    found = []
    for (i, saving), (halvings, depth), (j, together), v, every in itertools.product(
        enumerate(savings),
        enumerate(depths),
        enumerate(at_a_time),
        range(views + 1),
        _rhythms(adapt_every),
    ):
        loss = i + 1.2 * (views - v) + 2 * halvings + 1.5 * math.log2(every / adapt_every)
        found.append(Plan(v, together, saving, depth, every, loss + 0.5 * j))
    return sorted(found, key=lambda plan: plan.loss)


def depths_of(layers: int, asked: int = 0) -> list[int]:
    """Depths to plan with: what was asked for (0: all of the layers), and halves of it."""
    most = asked or layers
    return list(dict.fromkeys(asked if s == 1 else max(1, round(s * most)) for s in _SHARES))


def chosen(
    found: Iterable[Choice], budget_bytes: float | None, budget_s: float | None
) -> tuple[Choice, str]:
    """The first choice that fits, and the reason in a line. Takes no more of them than that.

    found: what gives up least first; the first is what was asked for.

    Raises:
        BudgetError: nothing fits; the smallest figures that would are in the message.
    """
    others: list[Choice] = []
    for choice in found:
        if choice.fits(budget_bytes, budget_s):
            if not others:
                return choice, f"budget: as asked for fits: {choice}"
            return choice, f"budget: chose {choice}; as asked for would need {others[0]}"
        others.append(choice)
    most_bytes = math.inf if budget_bytes is None else budget_bytes
    most_s = math.inf if budget_s is None else budget_s
    raise BudgetError(_refusal(others, most_bytes, most_s))


def check_learns(config: MethodConfig) -> None:
    """Whether a budget has anything to choose. Raises ConfigError where nothing is trained."""
    if not config.trains:
        raise ConfigError(
            f"a budget shares out what learning costs, and {config.label} does not learn; "
            "leave --budget-mb and --budget-ms out"
        )


def _rhythms(adapt_every: int) -> Iterator[int]:
    every = adapt_every
    while every <= max(adapt_every, MOST_FRAMES_APART):
        yield every
        every *= 2


def _refusal(found: Sequence[Choice], most_bytes: float, most_s: float) -> str:
    least = min(found, key=lambda c: c.needed_bytes)
    fastest = min(found, key=lambda c: c.needed_s)
    parts = []
    if least.needed_bytes > most_bytes:
        parts.append(
            f"--budget-mb {most_bytes / MIB:.0f} cannot be met: the least is "
            f"{math.ceil(least.needed_bytes / MIB)} ({least})"
        )
    if fastest.needed_s > most_s:
        parts.append(
            f"--budget-ms {1e3 * most_s:g} cannot be met: the least is "
            f"{math.ceil(1e4 * fastest.needed_s) / 10:g} ({fastest})"
        )
    if not parts:
        both = min((c for c in found if c.needed_bytes <= most_bytes), key=lambda c: c.needed_s)
        parts.append(
            f"--budget-mb {most_bytes / MIB:.0f} and --budget-ms {1e3 * most_s:g} cannot be met "
            f"together: within the memory the least is {math.ceil(1e4 * both.needed_s) / 10:g} ms"
        )
    return "; ".join(parts) + "; raise the budget, or take a smaller network or --size"
