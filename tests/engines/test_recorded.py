"""`RecordedStep`: the same results, from recordings; and steps that can be recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.engines import recorded
from edge_tta.engines.recorded import RecordedStep, Run
from edge_tta.engines.torch import engine_of
from edge_tta.method.step import Step
from tests.adapters import CASES, adapter, assert_same, stream
from tests.networks import network

IMAGES = stream(6, n=1)
WAITS = ("nonzero", "_local_scalar_dense", "masked_select", "_unique2", "lift_fresh", "is_nonzero")
"""Operations that wait for the device, or bring to it what is made beside it."""


def step_of(case: str) -> Step:
    made = adapter(case)
    made.prepare(tuple(IMAGES[0].shape[1:]))
    engine = engine_of(made)
    return Step(engine.step.program, engine.config, traced=True)


def in_place(run: Run) -> tuple[Any, Callable[[], None]]:
    """A recorder that runs again and writes where it wrote before, as a CUDA graph does."""
    outputs = run()

    def again() -> None:
        new = [value.clone() for value in nest.leaves(run())]
        for held, value in zip(nest.leaves(outputs), new, strict=True):
            held.copy_(value)

    return outputs, again


class Counting:
    """`in_place`, counted."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Run) -> tuple[Any, Callable[[], None]]:
        outputs, again = in_place(run)
        self.recorded += 1

        def counted() -> None:
            self.replayed += 1
            again()

        return outputs, counted


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_the_step_gives(case: str) -> None:
    step, counting = step_of(case), Counting()
    recorded_step = RecordedStep(step, counting)
    state = expected = step.initial_state()
    answers, wanted = [], []
    for image in IMAGES:
        given = {name: value.clone() for name, value in state.items()}
        answers.append(recorded_step.predict(image, state))
        wanted.append(step.predict(image, expected))
        before = state
        output, state = recorded_step.learn(image, state)
        own, expected = step.learn(image, expected)
        answers.append(output)
        wanted.append(own)
        assert_same(before, given)
        output, state = recorded_step.observe(image, state)
        own, expected = step.observe(image, expected)
        answers.append(output)
        wanted.append(own)
        assert_same(state, expected)
    assert counting.recorded == 3
    assert counting.replayed == 3 * len(IMAGES)  # the first time to be compared
    # What was given out is not written over later.
    for answer, one in zip(answers, wanted, strict=True):
        assert torch.equal(answer, one)


def test_other_shapes_have_recordings_of_their_own_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorded, "MOST", 2)
    step, counting = step_of("nanoadapt:tent/edge"), Counting()
    recorded_step, state = RecordedStep(step, counting), step.initial_state()
    for count, recordings in ((1, 1), (2, 2), (1, 2), (3, 3), (3, 3), (1, 4)):
        images = IMAGES[0].expand(count, -1, -1, -1)
        output, _ = recorded_step.observe(images, state)
        assert torch.equal(output, step.observe(images, state)[0])
        assert counting.recorded == recordings


def test_while_stages_are_listened_to_nothing_is_recorded() -> None:
    step, counting = step_of("nanoadapt:tent/edge"), Counting()
    stages: list[str] = []
    step.on_stage = stages.append
    RecordedStep(step, counting).learn(IMAGES[0], step.initial_state())
    assert stages == ["prepare", "forward", "backward", "update"]
    assert not counting.recorded


def failing(run: Run) -> tuple[Any, Callable[[], None]]:
    raise RuntimeError("operation not permitted when stream is capturing\nmore of it")


def forgetful(run: Run) -> tuple[Any, Callable[[], None]]:
    """Computes nothing again."""
    return run(), lambda: None


@pytest.mark.parametrize(
    ("record", "told"), [(failing, "not permitted when"), (forgetful, "gives other results")]
)
def test_where_a_recording_fails_or_is_wrong_the_step_itself_runs(
    record: recorded.Record, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    step = step_of("nanoadapt:tent/edge")
    recorded_step = RecordedStep(step, record)
    state = expected = step.initial_state()
    with caplog.at_level(logging.WARNING):
        for image in IMAGES:
            output, state = recorded_step.learn(image, state)
            wanted, expected = step.learn(image, expected)
            assert torch.equal(output, wanted)
            assert_same(state, expected)
    (message,) = caplog.messages
    assert told in message
    assert "\n" not in message


class Watching(TorchDispatchMode):
    """Names of operations that wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name.startswith("index") and len(args) > 1 else ()
        masks = [i for i in indices if i is not None] if isinstance(indices, list) else []
        if name in WAITS or any(mask.dtype == torch.bool for mask in masks):
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", CASES)
def test_no_step_waits_for_the_device(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step, image = step_of(case), IMAGES[0]
    views = 1 + step.config.views.count
    monkeypatch.setattr(Tensor, "is_cuda", property(lambda tensor: True))
    _, state = step.learn(image.expand(views, -1, -1, -1), step.initial_state(), views=views)
    with Watching() as watching:
        step.predict(image, state)
        step.observe(image, state)
        step.learn(image.expand(views, -1, -1, -1), state, views=views)
    assert not watching.waits


def test_watching_sees_what_waits() -> None:
    with Watching() as watching:
        values = torch.ones(3)
        bool((values > 0).any())
        values[values > 0] = 0
        torch.tensor([1.0])
    assert {"_local_scalar_dense", "index_put_", "lift_fresh"} == set(watching.waits)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", CASES)
def test_on_cuda_it_gives_what_a_cpu_gives(case: str, caplog: pytest.LogCaptureFixture) -> None:
    method, _, preset = case.partition("/")
    own, like = (
        Adapter(network("residual"), method, preset=preset or "edge", device=device)
        for device in ("cuda", "cpu")
    )
    for image in stream(20, n=1):
        torch.testing.assert_close(own(image).cpu(), like(image), rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(
            own.predict(image).cpu(), like.predict(image), rtol=1e-2, atol=1e-2
        )
    assert not caplog.messages
