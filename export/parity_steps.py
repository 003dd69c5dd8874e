"""Steps of one state, with their results as arrays, and how far two of them are from each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edge_tta import nest
from edge_tta.checkpoint import Arrays
from edge_tta.method.state import State
from edge_tta.method.step import Step
from edge_tta.probability import as_array

Array = npt.NDArray[Any]


def run(step: Step, batch: torch.Tensor, learn: bool, state: State) -> tuple[Any, State]:
    """Outputs and new state of a step."""
    works = step.learn if learn else step.observe
    outputs, new = works(batch, state, views=len(batch))
    return as_numpy(outputs), new


def step_of(step: Step, batch: torch.Tensor, learn: bool, state: State) -> tuple[Any, Arrays]:
    """The same with the state as arrays."""
    outputs, new = run(step, batch, learn, state)
    return outputs, as_arrays(new)


def as_numpy(outputs: Any) -> Any:
    """Outputs with arrays in the place of tensors."""
    return nest.mapped(lambda tensor: tensor.detach().numpy(), outputs)


def as_arrays(state: State) -> Arrays:
    """A state as arrays."""
    return {name: value.detach().numpy() for name, value in state.items()}


def differences(
    step: tuple[Any, Arrays], wanted: tuple[Any, Arrays], before: Arrays
) -> dict[str, float]:
    """Differences of the outputs and of each tensor of the state, relative to its largest value."""
    found = {"logits": furthest(step[0], wanted[0])}
    for key, value in wanted[1].items():
        # A change is a difference of parameters, and as exact as they are.
        like_it = before["opt.parameters"] if key == "taylor.change" else before[key]
        scale = float(np.abs(like_it).max(initial=0))
        found[key] = relative(step[1][key], value, scale)
    return found


def furthest(outputs: Any, wanted: Any) -> float:
    """Largest of the outputs' relative differences, of arrays or tensors."""
    pairs = zip(nest.leaves(outputs), nest.leaves(wanted), strict=True)
    return largest(*(relative(as_array(own), as_array(other)) for own, other in pairs))


def largest(*found: float) -> float:
    """The largest; NaN, which `max` may pass over, is worse than anything."""
    return float(np.max(found))


def relative(values: Array, wanted: Array, scale: float = 0.0) -> float:
    """Largest difference over the largest value, or over `scale` where that is more."""
    if not values.size:
        return 0.0
    size = max(float(np.abs(wanted).max()), scale, 1e-12)
    gap = values.astype(np.float64) - wanted.astype(np.float64)
    return float(np.abs(gap).max()) / size
