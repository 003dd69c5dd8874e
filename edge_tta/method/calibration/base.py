"""Interface of calibrations. Axes: C channels of a layer, or of all layers, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from edge_tta.method.state import State
from edge_tta.network.kernels import Moments
from edge_tta.network.program import BatchNorm


class Choice(NamedTuple):
    """Statistics (C,) that a layer's input is normalised with, and the history from here on."""

    used: Moments
    history: Moments


Rule = Callable[[BatchNorm, Moments, Moments], Choice]
"""What a layer normalises with in one pass: of the layer, its history and the batch's moments."""


class Collected(NamedTuple):
    """Moments and predictions collected in a forward pass, of all layers.

    history: as the rule left it, (C,) each; without a rule it says nothing. frames: moments of each
    frame in turn, of all layers; empty where the calibration does not look at them. predictions:
    mean probabilities of each frame's views, (N, classes).
    """

    history: Moments
    frames: Sequence[Moments]
    predictions: Tensor


class Calibration(Protocol):
    """Statistics to normalise with, before, during and after a forward pass.

    Attributes:
        by_frame: the moments of each frame of a batch by itself are needed after the pass.
        unused: names of layers that stay as trained; their moments need not be measured.
    """

    by_frame: bool
    unused: Collection[str]

    def initial(self) -> State:
        """Return what is remembered before the first frame."""
        ...

    def statistics(self, state: State) -> Moments:
        """Return the statistics that a state stands for, (C,) each, of all layers."""
        ...

    def expected(self, state: State) -> Moments:
        """Return what the next frame's will be near, (C,) of all layers."""
        ...

    def rule(self, state: State) -> Rule | None:
        """Return how the layers choose in the pass that begins with a state.

        None: they normalise with `statistics`, whatever the batch's are.
        """
        ...

    def shifted(self, state: State, shift: Callable[[Moments], Moments]) -> State:
        """Return what is remembered, shifted to changed parameters (Eq. 8)."""
        ...

    def updated(self, state: State, collected: Collected) -> State:
        """Return what is remembered after a pass, of the state before it."""
        ...


class OneHistory:
    """The part that calibrations with one running history share: the state is that history."""

    by_frame = False
    unused: Collection[str] = ()

    def __init__(self, layers: Sequence[BatchNorm]) -> None:
        self._variance = torch.cat([layer.variance for layer in layers])

    def initial(self) -> State:
        """Return the source's statistics."""
        return {
            "calib.offset": torch.zeros_like(self._variance),
            "calib.variance": self._variance.clone(),
        }

    def statistics(self, state: State) -> Moments:
        """Return the history."""
        return state["calib.offset"], state["calib.variance"]

    def expected(self, state: State) -> Moments:
        """Return the history."""
        return self.statistics(state)

    def shifted(self, state: State, shift: Callable[[Moments], Moments]) -> State:
        """Return nothing: the rule has had the shifted history."""
        return {}

    def updated(self, state: State, collected: Collected) -> State:
        """Return the history that the rule has left."""
        offset, variance = collected.history
        return {"calib.offset": offset, "calib.variance": variance}


def detached(moments: Moments) -> Moments:
    """Return moments as constants of the gradient."""
    return moments[0].detach(), moments[1].detach()
