"""Orders in which a stream's frames come: iid, correlated, still, natural and more."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.corruptions.drift import UP_AND_DOWN, shared_out
from edge_tta.errors import ConfigError

Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]

_FORMS = (
    "iid, correlated:L (runs of L frames of one class), still:L (each picture L times in a row), "
    "natural (as recorded), continual, mixed, drift (severity of one kind after another up and "
    "down)"
)

_WITH_RUNS = ("correlated", "still")
ORDERS = ("iid", *_WITH_RUNS, "natural", "continual", "mixed", "drift")
"""Names of orders, as reports list them."""


@dataclass(frozen=True)
class Order:
    """An order of frames.

    Attributes:
        name: `iid`, `correlated`, `still` or `natural` (the set's own order) within one corruption
            after another, reset between them; `continual` (iid within) the same without a reset;
            `mixed` draws over all corruptions; `drift` is `continual` with the severity of each
            kind going up and down, for a set that `bench.drift.load_drift_set` made.
        run: frames of one class in a row, for `correlated`; of one picture, for `still`.
    """

    name: str
    run: int = 1

    def __str__(self) -> str:
        return f"{self.name}:{self.run}" if self.name in _WITH_RUNS else self.name

    @property
    def resets(self) -> bool:
        """Return True where each corruption is a stream of its own."""
        return self.name in ("iid", "natural", *_WITH_RUNS)

    @property
    def repeats(self) -> int:
        """Number of times that each picture comes."""
        return self.run if self.name == "still" else 1


@dataclass(frozen=True)
class Stream:
    """One stream: for each frame, which corruption and which picture; both (frames,)."""

    corruption: Indices
    picture: Indices


def parse_order(text: str) -> Order:
    """An order as the command line writes it. Raises ConfigError for anything else."""
    match = re.fullmatch(rf"({'|'.join(_WITH_RUNS)}):([1-9]\d*)", text)
    if match:
        return Order(match[1], int(match[2]))
    if text in ORDERS and text not in _WITH_RUNS:
        return Order(text)
    raise ConfigError(f"unknown order {text!r}; expected {_FORMS}")


def make_streams(order: Order, labels: Labels, corruptions: int, seed: int) -> list[Stream]:
    """The streams of an order: one for each corruption, or a single one over all of them.

    Every corruption's pictures come in an order of their own, drawn from `seed`.
    """
    orders = []
    for corruption in range(corruptions):
        rng = np.random.default_rng([seed, corruption])
        if order.name == "correlated":
            orders.append(runs(labels, order.run, rng))
        elif order.name == "natural":
            orders.append(np.arange(len(labels)))
        elif order.name == "drift":
            steps = drift_steps(len(labels), corruption)
            shuffled = rng.permutation(len(labels))
            orders.append(shuffled[np.argsort(steps[shuffled], kind="stable")])
        else:
            orders.append(np.repeat(rng.permutation(len(labels)), order.repeats))
    streams = [
        Stream(np.full(len(pictures), corruption), pictures)
        for corruption, pictures in enumerate(orders)
    ]
    if order.resets:
        return streams
    which = np.concatenate([stream.corruption for stream in streams])
    picture = np.concatenate([stream.picture for stream in streams])
    if order.name == "mixed":
        shuffled = np.random.default_rng([seed, corruptions]).permutation(len(which))
        which, picture = which[shuffled], picture[shuffled]
    return [Stream(which, picture)]


def runs(labels: Labels, length: int, rng: np.random.Generator) -> Indices:
    """Pictures (n,), all, in runs of `length` of one class; a class's last run may be shorter.

    Runs come in random order, so that two of one class may follow each other.
    """
    parts: list[Indices] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        parts += [members[start : start + length] for start in range(0, len(members), length)]
    return np.concatenate([parts[i] for i in rng.permutation(len(parts))])


def drift_steps(pictures: int, corruption: int) -> Indices:
    """Return the step of UP_AND_DOWN at which each picture of a corruption comes, (pictures,).

    The steps have equally many pictures. Which ones is drawn, but the same for every seed, so that
    each picture has one severity and the source network errs the same in all.
    """
    steps = np.array(shared_out(pictures, len(UP_AND_DOWN)), np.int64)
    # The last word separates these draws from those of the orders, [seed, corruption].
    return np.random.default_rng([0, corruption, 1]).permutation(steps)
