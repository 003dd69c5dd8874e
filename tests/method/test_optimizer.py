"""Steps of the optimizer: their length by batch, by images that teach, and their windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edge_tta.config import MethodConfig, make_config
from edge_tta.method.hosts import make_host
from edge_tta.method.optimizer import Optimizer, make_optimizer
from edge_tta.method.state import State
from edge_tta.method.step import Step
from tests.adapters import shared, stream

S, N = 4, 2
SOURCE = torch.tensor([1.0, -2.0, 0.5])
GRADIENT = torch.tensor([0.3, -0.1, 2.0])


def _optimizer(config: MethodConfig) -> Optimizer:
    return make_optimizer(config, make_host(config.host, config.loss))


def _config(**options: Any) -> MethodConfig:
    return make_config("nanoadapt", accumulation=S, **options)


def _after(masks: list[list[int]], config: MethodConfig, state: State | None = None) -> State:
    """The state after one gradient for each mask; an image that is not in it adds nothing."""
    optimizer = _optimizer(config)
    state = state or optimizer.initial(SOURCE)
    for row in masks:
        mask = torch.tensor(row, dtype=torch.bool)
        gradient = GRADIENT * mask.float().mean()
        state = {**state, **optimizer.updated(state, gradient, mask, SOURCE, N)}
    return state


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_step_is_as_long_as_its_images_were_reliable(optimizer: str) -> None:
    config = _config(optimizer=optimizer, forgetting=0.0)
    every = _after([[1, 1]] * S, config)["opt.parameters"] - SOURCE
    half = _after([[1, 0]] * S, config)["opt.parameters"] - SOURCE
    # Adam's first step is the sign of the gradient; sgd's is the gradient, itself a half here.
    torch.testing.assert_close(half, every / 2, rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_step_is_no_longer_for_batches_of_other_sizes_in_its_window(optimizer: str) -> None:
    config = _config(optimizer=optimizer)
    every = _after([[1, 1]] * S, config)["opt.parameters"] - SOURCE
    last_is_small = _after([*[[1] * 8] * (S - 1), [1]], config)["opt.parameters"] - SOURCE
    torch.testing.assert_close(last_is_small, every, rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_each_step_goes_back_by_a_share_of_the_way_from_the_source(
    optimizer: str, share: float
) -> None:
    plain, fading = (_config(optimizer=optimizer, forgetting=value) for value in (0.0, share))
    first = [_after([[1, 1]] * S, config)["opt.parameters"] - SOURCE for config in (plain, fading)]
    torch.testing.assert_close(first[1], (1 - share) * first[0])
    far = {**_after([[1, 1]] * S, fading), "opt.parameters": SOURCE + 1}
    ways = [
        _after([[1, 1]] * S, config, far)["opt.parameters"] - SOURCE for config in (plain, fading)
    ]
    torch.testing.assert_close(ways[1], (1 - share) * ways[0])
    still = _after([[0, 0]] * S, fading, far)
    assert torch.equal(still["opt.parameters"], SOURCE + 1)


def test_a_step_that_is_shortened_goes_back_as_much_less() -> None:
    plain, fading = _config(forgetting=0.0), _config(forgetting=0.5)
    far = {**_optimizer(plain).initial(SOURCE), "opt.parameters": SOURCE + 1}
    ways = [
        _after([[1, 0]] * S, config, far)["opt.parameters"] - SOURCE for config in (plain, fading)
    ]
    torch.testing.assert_close(ways[1], 0.75 * ways[0])


def test_a_window_without_a_reliable_image_moves_nothing_not_even_by_momentum() -> None:
    config = _config()
    before = _after([[1, 1]] * S, config)
    assert not torch.equal(before["opt.parameters"], SOURCE)
    after = _after([[0, 0]] * S, config, before)
    moments = ("opt.first_moment", "opt.second_moment")
    for name in ("opt.parameters", *moments, "opt.applied"):
        assert torch.equal(after[name], before[name]), name
    assert int(after["opt.updates"]) == int(before["opt.updates"]) + 1


def test_filters_of_a_host_alone_leave_the_step_as_published() -> None:
    config = make_config("eata", accumulation=S, optimizer="adam")
    assert config.loss.reliable_below == 0
    every = _after([[1, 1]] * S, config)["opt.parameters"] - SOURCE
    half = _after([[1, 0]] * S, config)["opt.parameters"] - SOURCE
    torch.testing.assert_close(half, every, rtol=1e-4, atol=2e-7)


def test_a_gradient_that_is_not_finite_holds_its_place_and_adds_nothing() -> None:
    config = _config(reliable_below=0.0)
    optimizer = _optimizer(config)
    state = optimizer.initial(SOURCE)
    for value in (float("nan"), float("inf")):
        bad = GRADIENT.clone()
        bad[1] = value
        state = {**state, **optimizer.updated(state, bad, None, SOURCE, N)}
        assert torch.equal(state["opt.gradient"], torch.zeros_like(SOURCE))
    assert int(state["opt.position"]) == 2


@pytest.mark.parametrize("mask", [None, torch.tensor([True, True])], ids=["all", "masked"])
@pytest.mark.parametrize("size", [1e25, 3e38])
def test_a_step_that_is_not_finite_is_left_out_and_the_next_window_goes_on(
    size: float, mask: Tensor | None
) -> None:
    """Finite gradients, whose square is not."""
    config = _config(**({} if mask is not None else {"reliable_below": 0.0}), weighting="mean")
    optimizer = _optimizer(config)
    state = optimizer.initial(SOURCE)
    for _ in range(S):
        state = {**state, **optimizer.updated(state, GRADIENT.sign() * size, mask, SOURCE, N)}
    assert torch.equal(state["opt.parameters"], SOURCE)
    for name in ("opt.gradient", "opt.first_moment", "opt.second_moment"):
        assert torch.equal(state[name], torch.zeros_like(SOURCE)), name
    for _ in range(S):
        state = {**state, **optimizer.updated(state, GRADIENT, mask, SOURCE, N)}
    assert not torch.equal(state["opt.parameters"], SOURCE)
    assert all(bool(torch.isfinite(value).all()) for value in state.values())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_window_of_gradients_equals_torch_optim_on_their_weighted_sum(optimizer: str) -> None:
    options = {"reliable_below": 0.0, "weighting": "mean", "forgetting": 0.0}
    config = _config(optimizer=optimizer, learning_rate=0.01, **options)
    plain = SOURCE.clone().requires_grad_()
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    momentum = {"adam": {}, "sgd": {"momentum": 0.9}}[optimizer]
    reference = kinds[optimizer]([plain], lr=0.01, **momentum)
    generator = torch.Generator().manual_seed(0)
    ours = _optimizer(config)
    state = ours.initial(SOURCE)
    for update in range(1, 6):
        gradients = torch.randn((S, 3), generator=generator)
        plain.grad = gradients.mean(0)
        reference.step()
        for gradient in gradients:
            state = {**state, **ours.updated(state, gradient, None, SOURCE, N)}
        torch.testing.assert_close(state["opt.parameters"], plain.detach(), rtol=1e-5, atol=1e-6)
        assert (int(state["opt.updates"]), int(state["opt.position"])) == (update, 0)


def _moved(frames: int, views: int, **options: float) -> Tensor:
    """How far a first SGD step of Tent moves the parameters, (P,)."""
    config = make_config("tent", optimizer="sgd", **options)
    step = Step(shared("residual").program((3, 8, 8)), config)
    images = stream(1, n=4)[0].repeat(-(-frames * views // 4), 1, 1, 1)[: frames * views]
    _, state = step.learn(images, step.initial_state(), views=views)
    return state["opt.parameters"] - step.source_parameters()


@pytest.mark.parametrize(("frames", "share"), [(4, 0.25), (8, 0.5), (16, 1.0), (32, 1.0)])
@pytest.mark.parametrize("views", [1, 2])
def test_a_batch_below_the_reference_takes_its_share_and_a_larger_one_the_whole(
    frames: int, share: float, views: int
) -> None:
    whole = _moved(frames, views, learning_rate=1.0)
    scaled = _moved(frames, views, learning_rate=1.0, reference_batch=16)
    assert float(whole.abs().max()) > 1e-3
    torch.testing.assert_close(scaled, share * whole, rtol=1e-4, atol=1e-6)
