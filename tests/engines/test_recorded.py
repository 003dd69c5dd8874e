"""`RecordedStep`: the same results, from recordings; and steps that can be recorded."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from edge_tta import nest
from edge_tta.adapter import Adapter
from edge_tta.background import Background
from edge_tta.engines import recorded
from edge_tta.engines.base import Backward
from edge_tta.engines.recorded import RecordedStep, Run
from edge_tta.engines.torch import engine_of
from edge_tta.method.step import Step
from tests.adapters import CASES, adapter, assert_same, stream
from tests.networks import NETWORKS, network

IMAGES = stream(6, n=1)
WAITS = (
    *("nonzero", "_local_scalar_dense", "masked_select", "_unique2", "lift_fresh", "is_nonzero"),
    *("equal", "_to_cpu", "pin_memory"),
)
"""Operations that wait for the device, or bring to it what is made beside it."""


def step_of(case: str, net: str = "used-twice", saved: str = "float32") -> Step:
    made = adapter(case, net, backward=Backward(saved))
    made.prepare((3, 8, 8) if net == "used-twice" else (3, 16, 16))
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


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the package has logged."""
    return [r.getMessage() for r in caplog.records if r.name.startswith("edge_tta")]


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
    # From the second time on, when it is compared with the step.
    assert counting.replayed == 3 * (len(IMAGES) - 1)
    # What was given out is not written over later.
    for answer, one in zip(answers, wanted, strict=True):
        assert torch.equal(answer, one)


def test_a_shape_is_recorded_when_it_comes_again_and_the_one_longest_unseen_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorded, "MOST", 2)
    step, counting = step_of("nanoadapt:tent/edge"), Counting()
    recorded_step, state = RecordedStep(step, counting), step.initial_state()
    turned = dict(reversed(state.items()))
    for count, recordings in ((1, 0), (1, 1), (2, 1), (1, 1), (3, 1), (2, 1), (2, 2), (1, 2)):
        images = IMAGES[0].expand(count, -1, -1, -1)
        output, _ = recorded_step.observe(images, turned if recordings else state)
        assert torch.equal(output, step.observe(images, state)[0])
        assert counting.recorded == recordings


def test_while_stages_are_listened_to_nothing_is_recorded() -> None:
    step, counting = step_of("nanoadapt:tent/edge"), Counting()
    stages: list[str] = []
    step.on_stage = stages.append
    recorded_step = RecordedStep(step, counting)
    for _ in range(3):
        recorded_step.learn(IMAGES[0], step.initial_state())
    assert stages == 3 * ["prepare", "forward", "backward", "update"]
    assert not counting.recorded


def failing(run: Run) -> tuple[Any, Callable[[], None]]:
    raise RuntimeError("operation not permitted when stream is capturing\nmore of it")


def forgetful(run: Run) -> tuple[Any, Callable[[], None]]:
    """Computes nothing again."""
    return run(), lambda: None


def without_backward(run: Run) -> tuple[Any, Callable[[], None]]:
    """Computes all again but what the gradient moves."""
    (outputs, new), again = in_place(run)
    kept = {name: new[name].clone() for name in new if name.startswith("opt.")}

    def partly() -> None:
        again()
        for name, value in kept.items():
            new[name].copy_(value)

    return (outputs, new), partly


@pytest.mark.parametrize(
    ("record", "why", "attempts"),
    [
        (failing, "not permitted when", 1),
        (forgetful, "gives other results", recorded.ATTEMPTS),
        (without_backward, "gives other results", recorded.ATTEMPTS),
    ],
)
@pytest.mark.parametrize("blank", [False, True])
def test_where_a_recording_fails_or_is_wrong_the_step_itself_runs(
    record: recorded.Record,
    why: str,
    attempts: int,
    blank: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    step = step_of("tent")
    recorded_step = RecordedStep(step, record)
    state = expected = step.initial_state()
    for image in IMAGES:
        image = torch.zeros_like(image) if blank else image
        output, state = recorded_step.learn(image, state)
        wanted, expected = step.learn(image, expected)
        assert torch.equal(output, wanted)
        assert_same(state, expected)
    assert len(told(caplog)) == attempts
    for message in told(caplog):
        assert why in message
        assert "\n" not in message


def test_a_frame_that_gives_nothing_finite_refuses_no_recording_for_good() -> None:
    step, counting = step_of("tent"), Counting()
    recorded_step, state = RecordedStep(step, counting), step.initial_state()
    nothing = torch.full_like(IMAGES[0], torch.nan)
    recorded_step.predict(nothing, state)
    recorded_step.predict(nothing, state)
    recorded_step.predict(IMAGES[0], state)
    replayed = counting.replayed
    assert torch.equal(recorded_step.predict(IMAGES[1], state), step.predict(IMAGES[1], state))
    assert counting.replayed == replayed + 1


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


@pytest.mark.parametrize(
    ("case", "net"),
    [(case, "used-twice") for case in CASES] + [("nanoadapt:tent/edge", net) for net in NETWORKS],
)
@pytest.mark.parametrize("saved", ["stock", "float16", "int8"])
def test_no_step_waits_for_the_device(
    case: str, net: str, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, image = step_of(case, net, saved), torch.randn(1, 3, 16, 16)
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


ON_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions and products of float32 in float32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def on_cuda(case: str, net: str = "residual", **options: Any) -> Adapter:
    method, _, preset = case.partition("/")
    return Adapter(network(net), method, preset=preset or "edge", device="cuda", **options)


def recordings_of(adapter: Adapter) -> int:
    """Recordings that are there."""
    runs = engine_of(adapter)._runs
    assert isinstance(runs, RecordedStep)
    return sum(known.recording is not None for known in runs._known.values())


def assert_step(own: Adapter, image: Tensor) -> None:
    """Assert that the next step is that of the step itself, unrecorded, from the same state."""
    engine = engine_of(own)
    own.prepare(tuple(image.shape[1:]))
    batch, state = engine.batch(image), own.state
    views = 1 + own.config.views.count
    if views == 1:
        wanted, new = engine.step.learn(batch, state)
        torch.testing.assert_close(own(image), wanted, rtol=1e-4, atol=1e-4)
        for name, value in new.items():
            near = (own.state[name].double() - value.double()).norm()
            assert near <= 1e-3 * value.double().norm() + 1e-6, name
    else:
        own(image)
    torch.testing.assert_close(
        own.predict(image), engine.step.predict(batch, own.state), rtol=1e-4, atol=1e-4
    )


@ON_CUDA
@pytest.mark.parametrize("case", CASES)
def test_on_cuda_a_recording_is_the_step(
    case: str, exact: None, caplog: pytest.LogCaptureFixture
) -> None:
    own = on_cuda(case)
    for image in stream(6, n=1):
        assert_step(own, image)
    assert recordings_of(own) == 2
    assert not told(caplog)


@ON_CUDA
@pytest.mark.parametrize("saved", ["stock", "float16", "int8"])
@pytest.mark.parametrize("net", [*NETWORKS])
def test_on_cuda_any_network_and_precision_is_recorded(
    net: str, saved: str, exact: None, caplog: pytest.LogCaptureFixture
) -> None:
    own = on_cuda("nanoadapt:tent/edge", net, backward=Backward(saved), reliable_below=0.98)
    for image in stream(6, n=1, size=16):
        assert_step(own, image)
    assert recordings_of(own) == 2
    assert not told(caplog)


@ON_CUDA
def test_on_cuda_a_recording_outlives_others(exact: None) -> None:
    kept, others = on_cuda("nanoadapt:tent/edge"), [on_cuda("tent"), on_cuda("norm")]
    for image in stream(3, n=1):
        for one in (kept, *others):
            assert_step(one, image)
    others.clear()
    gc.collect()
    torch.cuda.empty_cache()
    for n in range(1, recorded.MOST + 3):
        for image in stream(3, n=n):
            kept.predict(image)
    for image in stream(4, n=1):
        assert_step(kept, image)


@ON_CUDA
def test_on_cuda_autocast_has_recordings_of_its_own(exact: None) -> None:
    own, like = on_cuda("nanoadapt:norm"), on_cuda("nanoadapt:norm")
    engine_of(like).prepare((3, 8, 8))
    engine_of(like).step.on_stage = lambda stage: None
    for image in stream(4, n=1):
        with torch.autocast("cuda", torch.bfloat16):
            one, other = own(image), like(image)
        assert one.dtype is other.dtype
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)
        torch.testing.assert_close(own.predict(image), like.predict(image), rtol=0.05, atol=0.05)
    assert recordings_of(own) == 2


@ON_CUDA
def test_on_cuda_a_thread_learns_beside_predictions(
    exact: None, caplog: pytest.LogCaptureFixture
) -> None:
    like = on_cuda("nanoadapt:tent/edge")
    with Background(on_cuda("nanoadapt:tent/edge")) as background:
        for image in stream(8, n=1):
            background(image)
            background.predict(image)
            background.wait()
            like(image)
            for name, value in like.state.items():
                near = (background.state[name].double() - value.double()).norm()
                assert near <= 1e-2 * value.double().norm() + 1e-5, name
        for image in stream(200, n=1):
            background(image)
    assert not told(caplog)


@ON_CUDA
def test_on_cuda_a_step_that_cannot_be_recorded_runs_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = on_cuda("nanoadapt:norm")
    own.prepare((3, 8, 8))
    step = engine_of(own).step
    observe = step.observe

    def waiting(images: Tensor, state: Any, **options: Any) -> Any:
        assert bool(torch.isfinite(images).all())
        return observe(images, state, **options)

    monkeypatch.setattr(step, "observe", waiting)
    before = torch.cuda.current_stream()
    for image in stream(5, n=1):
        own(image)
    assert torch.cuda.current_stream() == before
    assert own.steps == 5
    (message,) = told(caplog)
    assert "no more CUDA graphs (observe)" in message
