"""How uncertain PyTorch's own step is: what rounding of its input, state and moments moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from edge_tta.checkpoint import Arrays
from edge_tta.method.calibration.base import Collected
from edge_tta.method.state import State
from edge_tta.method.step import Step
from export.parity_steps import as_arrays, differences, step_of

PERTURBATION = 1e-6
"""Relative change of the image, the state and measured moments that stands for rounding in a deep
network. It turns units on and off that stand at the bend of their activation, as all do that have a
constant input, and moves the shrinkage factor of statistics where the frames seem all alike."""

# All values by that much, and then as often each up or down by chance, as rounding is: each of them
# finds a unit at the bend with a chance of one half.
_DRAWS = 8


def uncertainty(
    step: Step, exact: Step | None, batch: torch.Tensor, learn: bool, old: State
) -> dict[str, float]:
    """Return by tensor how uncertain a step is, relative to its largest value.

    How far it is moved by a PERTURBATION of images and state, and of the moments that it observes,
    or is from the same step in float64: the gradient of a sure prediction is a difference of nearly
    equal numbers.

    Args:
        exact: the step in float64; None, or one that fails: the network has float32 written into
            it.
    """
    before = as_arrays(old)
    wanted = step_of(step, batch, learn, old)
    largest = dict.fromkeys(("logits", *old), 0.0)

    def add(one: tuple[object, Arrays], other: tuple[object, Arrays]) -> None:
        for name, value in differences(one, other, before).items():
            largest[name] = max(largest[name], value)

    for draw in range(1 + _DRAWS):
        state = {name: _perturbed(value, draw) for name, value in old.items()}
        moved = _perturbed(batch, draw)
        here = step_of(step, moved, learn, state)
        add(here, wanted)
        if (there := _exactly(exact, moved, learn, state)) is not None:
            add(here, there)
    if not learn:
        with _moments_rounded(step):
            add(step_of(step, batch, learn, old), wanted)
    return largest


def _exactly(
    exact: Step | None, batch: torch.Tensor, learn: bool, state: State
) -> tuple[object, Arrays] | None:
    """The step in float64; None: it cannot be taken."""
    if exact is None:
        return None
    try:
        floats = {k: v.double() for k, v in state.items() if v.is_floating_point()}
        return step_of(exact, batch.double(), learn, state | floats)
    except RuntimeError:
        return None


def _perturbed(values: torch.Tensor, draw: int) -> torch.Tensor:
    """Values larger by PERTURBATION (draw 0), or each up or down by chance; counters stay."""
    if not values.is_floating_point():
        return values
    if not draw:
        return values * (1 + PERTURBATION)
    generator = torch.Generator().manual_seed(draw)
    up = torch.randint(0, 2, values.shape, generator=generator).to(values)
    return values * (1 + PERTURBATION * (2 * up - 1))


@contextmanager
def _moments_rounded(step: Step) -> Iterator[None]:
    """A block in which a frame's variances are larger by a PERTURBATION of its mean squares.

    Bundles that observe measure mean squares, about the recent frames' mean. Of a channel that is
    nearly constant in a frame little is left of that less the square of the mean.
    """
    calibration = step.calibration
    updated = calibration.updated

    def rounded(state: State, collected: Collected) -> State:
        about, _ = calibration.expected(state)
        frames = [
            (mean, variance + PERTURBATION * (variance + (mean - about) ** 2))
            for mean, variance in collected.frames
        ]
        return updated(state, collected._replace(frames=frames))

    calibration.updated = rounded  # type: ignore[method-assign]
    try:
        yield
    finally:
        del calibration.updated
