"""What holds of a step whatever its host and its calibration: a new one is tested without a test.

A step is run over a few batches; each property is one function that asserts.
"""

from __future__ import annotations

import pkgutil
from types import ModuleType

import torch
from torch import Tensor

from edge_tta.method.state import State
from edge_tta.method.step import Step
from tests.adapters import assert_same, is_finite


def modules_of(package: ModuleType, *but: str) -> list[str]:
    """Names of a package's modules, but some."""
    names = {module.name for module in pkgutil.iter_modules(package.__path__)}
    return sorted(names - set(but))


def after(step: Step, batches: list[Tensor], state: State | None = None) -> State:
    """The state after learning from batches."""
    state = step.initial_state() if state is None else state
    for images in batches:
        _, state = step.learn(images, state)
    return state


def assert_like(new: State, old: State) -> None:
    """The same keys in the same order, the same shapes and types."""
    assert list(new) == list(old)
    for name, value in old.items():
        assert (new[name].shape, new[name].dtype) == (value.shape, value.dtype), name
        assert not new[name].requires_grad, name


def assert_every_state_is_as_the_first(step: Step, batches: list[Tensor]) -> None:
    """A state keeps its keys, their order, shapes and types, and whose they are."""
    first = step.initial_state()
    owners = {name.partition(".")[0] for name in first}
    assert owners <= {"steps", "calib", "opt", "host", "taylor"}
    assert is_finite(first)
    for run in (step.learn, step.observe):
        _, new = run(batches[0], first)
        assert_like(new, first)
        assert int(new["steps"]) == 1


def assert_pure(step: Step, batches: list[Tensor]) -> None:
    """A step changes neither what it is given nor itself."""
    state = after(step, batches[:-1])
    kept, images = {name: value.clone() for name, value in state.items()}, batches[-1].clone()
    results = [step.learn(batches[-1], state) for _ in range(2)]
    step.observe(batches[-1], state)
    step.predict(batches[-1], state)
    assert_same(state, kept)
    assert torch.equal(batches[-1], images)
    assert torch.equal(results[0][0], results[1][0])
    assert_same(results[0][1], results[1][1])


def assert_resumes(step: Step, again: Step, batches: list[Tensor]) -> None:
    """Another step of the same method goes on exactly, whatever the order of the state's keys."""
    half = len(batches) // 2
    state = after(step, batches[:half])
    copied = {name: state[name].clone() for name in reversed(state)}
    assert_same(after(again, batches[half:], copied), after(step, batches[half:], state))


def assert_recovers_from_nan(step: Step, batches: list[Tensor]) -> None:
    """Logits that are NaN, inside a window, leave everything but the counters as it was."""
    state = after(step, batches[:-2])
    assert 0 < int(state["opt.position"]) < step.config.optimizer.accumulation - 1
    logits, new = step.learn(torch.full_like(batches[-2], torch.nan), state)
    assert not bool(torch.isfinite(logits).any())
    assert is_finite(new)
    for name in state:
        if name not in ("steps", "opt.position"):
            assert torch.equal(new[name], state[name]), name
    assert int(new["steps"]) == int(state["steps"]) + 1
    logits, last = step.learn(batches[-1], new)
    assert bool(torch.isfinite(logits).all())
    assert is_finite(last)
