"""What holds for every method: determinism, reset, purity, any number of images."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

from edge_tta.adapter import Adapter
from edge_tta.method.hosts import sar
from edge_tta.method.step import Step
from edge_tta.network.capture import capture
from tests.adapters import CASES, WINDOW, adapter, assert_same, is_finite, stream
from tests.networks import frozen, network

pytestmark = pytest.mark.usefixtures("reachable_margins")
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_same_images_give_the_same_logits_and_state_to_the_bit(case: str) -> None:
    first, second = adapter(case), adapter(case)
    for images in stream(10):
        assert torch.equal(first(images), second(images))
    assert_same(first.state, second.state)


@pytest.mark.parametrize("net", ["used-twice", "residual"])
@pytest.mark.parametrize("case", [case for case in CASES if adapter(case).config.trains])
def test_every_method_that_trains_does_move_parameters_here(
    case: str, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else much of what is claimed here of all methods would hold by itself."""
    monkeypatch.setattr(sar, "RECOVERY_BELOW_NATS", 0.0)
    adapting = adapter(case, net)
    for images in stream(2 * WINDOW):
        adapting(images)
    start = adapting.engine.step.source_parameters()
    assert not torch.equal(adapting.state["opt.parameters"], start), (
        "nothing was learned: does any image here pass the host's filter? See the fixture "
        "reachable_margins in tests/conftest.py"
    )


@every_case
def test_reset_equals_fresh_to_the_bit(case: str) -> None:
    used, fresh = adapter(case, "residual"), adapter(case, "residual")
    for images in stream(WINDOW + 2, seed=1):
        used(images)
    used.reset()
    assert (used.steps, used.updates, used.position) == (0, 0, 0)
    for images in stream(WINDOW + 2):
        assert torch.equal(used(images), fresh(images))
    assert_same(used.state, fresh.state)


@every_case
def test_images_and_the_given_model_are_not_changed(case: str) -> None:
    model = network("used-twice").train()
    model.head.eval()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    adapting = Adapter(model, case.partition("/")[0], preset=case.partition("/")[2] or "edge")
    for images in stream(3):
        before = images.clone()
        adapting(images)
        assert torch.equal(images, before)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(model.state_dict()[name], value) for name, value in kept.items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@every_case
def test_a_model_in_training_mode_is_adapted_as_in_evaluation_mode(case: str) -> None:
    method, _, preset = case.partition("/")
    model = network("pre-activation")  # it holds dropout
    calm = Adapter(model, method, preset=preset or "edge")
    training = Adapter(model.train(), method, preset=preset or "edge")
    for images in stream(3):
        assert torch.equal(training(images), calm(images))


@every_case
def test_the_number_of_images_may_change_from_call_to_call(case: str) -> None:
    adapting = adapter(case)
    for n, images in zip((1, 3, 1, 2, 5, 1), stream(6, n=5), strict=True):
        logits = adapting(images[:n])
        assert logits.shape == (n, 4)
        assert bool(torch.isfinite(logits).all())
        assert not logits.requires_grad
    assert adapting.steps == 6
    assert is_finite(adapting.state)


@every_case
def test_calls_without_learning_never_change_parameters(case: str) -> None:
    adapting = adapter(case)
    for images in stream(WINDOW + 1):
        adapting(images)
    before, counts = adapting.state, (adapting.updates, adapting.position)
    for images in stream(WINDOW + 1, seed=1):
        adapting(images, learn=False)
    assert (adapting.updates, adapting.position) == counts
    kept = {name for name in before if name.startswith("opt.")}
    assert len(kept) >= 6 * adapting.config.trains
    for name in kept:
        assert torch.equal(adapting.state[name], before[name]), name
    assert adapting.steps == 2 * (WINDOW + 1)
    if case != "source":  # they do calibrate
        offset = next(name for name in before if name.endswith("offset"))
        assert not torch.equal(adapting.state[offset], before[offset])


@every_case
def test_only_learning_calls_count_towards_an_update(case: str) -> None:
    adapting = adapter(case)
    window = adapting.config.optimizer.accumulation
    for images in stream(2 * WINDOW):
        adapting(images)
        adapting(images, learn=False)
    learned = 2 * WINDOW if adapting.config.trains else 0
    windows = int(adapting.state.get("opt.updates", torch.tensor(0)))
    assert windows == learned // window >= adapting.updates
    assert adapting.position == learned % window
    assert adapting.steps == 4 * WINDOW


def test_a_window_of_which_no_image_counted_is_no_update() -> None:
    adapting = adapter("nanoadapt:tent/edge", reliable_below=1e-9)
    for images in stream(WINDOW):
        adapting(images)
    assert (adapting.updates, adapting.position) == (0, 0)


@every_case
@pytest.mark.parametrize("net", ["plain", "used-twice"])
def test_one_image_with_feature_maps_of_one_pixel_stays_finite(case: str, net: str) -> None:
    adapting = adapter(case, net)
    for images in stream(2 * WINDOW, n=1, size=1):
        assert bool(torch.isfinite(adapting(images)).all())
    assert is_finite(adapting.state)


@every_case
def test_what_was_learned_outlives_a_change_of_image_size(case: str) -> None:
    adapting = adapter(case)
    for images in stream(WINDOW):
        adapting(images)
    before, larger = adapting.state, stream(1, size=10)[0]
    program = capture(frozen(network("used-twice")), (3, 10, 10))
    expected, state = Step(program, adapting.config).observe(larger, before)
    # The adapter runs the lean form of the network, which rounds otherwise.
    torch.testing.assert_close(adapting(larger, learn=False), expected)
    torch.testing.assert_close(adapting.state, state)


@every_case
def test_the_state_stays_flat_over_300_steps(case: str) -> None:
    adapting = adapter(case)
    images = stream(1, n=1)[0]
    adapting(images)
    sizes = {name: value.shape for name, value in adapting.state.items()}
    for _ in range(2 * WINDOW):
        adapting(images)
    tensors = _live_tensors()
    for _ in range(300 - 2 * WINDOW - 1):
        adapting(images)
    assert adapting.steps == 300
    assert {name: value.shape for name, value in adapting.state.items()} == sizes
    assert _live_tensors() == tensors


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", ["norm", "tent", "nanoadapt:tent/paper"])
def test_a_model_of_another_precision_runs_as_its_float32_copy(
    case: str, dtype: torch.dtype
) -> None:
    method, _, preset = case.partition("/")
    model = network("used-twice").to(dtype)
    given = Adapter(model, method, preset=preset or "edge")
    wanted = Adapter(network("used-twice").to(dtype).float(), method, preset=preset or "edge")
    for images in stream(3):
        logits = given(images)
        assert logits.dtype == torch.float32
        assert torch.equal(logits, wanted(images))
    assert all(p.dtype == dtype for p in model.parameters())


def test_adapters_that_share_a_network_do_not_touch_each_other() -> None:
    one = adapter("nanoadapt:tent/paper")
    two = Adapter(one.engine.network, "tent")
    alone = Adapter(network("used-twice"), "tent")
    for images in stream(WINDOW + 1):
        one(images)
        assert torch.equal(two(images), alone(images))
    assert_same(two.state, alone.state)


def test_another_seed_draws_other_views() -> None:
    one, two = (adapter("nanoadapt:tent/paper", seed=seed) for seed in (1, 2))
    images = stream(1)[0]
    one(images), two(images)
    assert not torch.equal(one.state["opt.gradient"], two.state["opt.gradient"])


def test_without_the_taylor_term_the_first_update_leaves_other_statistics() -> None:
    """The negative control of Eq. 8: up to the update nothing differs, from it on it does."""
    with_term = adapter("nanoadapt:tent/paper", "residual")
    without = adapter("nanoadapt:tent/paper", "residual", taylor="none")
    *before, after = stream(WINDOW + 1)
    for images in before:
        torch.testing.assert_close(with_term(images), without(images))
    assert with_term.updates == without.updates == 1
    torch.testing.assert_close(with_term.state["calib.variance"], without.state["calib.variance"])
    with_term(after), without(after)
    for name in ("calib.offset", "calib.variance"):
        gap = (with_term.state[name] - without.state[name]).abs().max()
        assert float(gap) > 1e-4, name


def test_the_answer_carries_no_graph_even_where_gradients_are_on() -> None:
    model: nn.Module = network("used-twice").requires_grad_(True)
    logits = Adapter(model, "tent")(stream(1)[0])
    assert logits.grad_fn is None


def _live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(item), Tensor) for item in gc.get_objects())
