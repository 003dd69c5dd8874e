"""Steps of the optimizer where some images are not reliable enough to teach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_tta.config import MethodConfig, make_config
from edge_tta.method.state import State
from edge_tta.method.updating import updated

S, N = 4, 2
SOURCE = torch.tensor([1.0, -2.0, 0.5])
NEWS = torch.tensor([0.3, -0.1, 2.0])


def _config(**options: object) -> MethodConfig:
    return make_config("nanoadapt", accumulation=S, **options)


def _state() -> State:
    zero, none = torch.zeros_like(SOURCE), torch.zeros((), dtype=torch.int64)
    vectors = dict.fromkeys(("gradient", "first", "second"), zero)
    counters = dict.fromkeys(("position", "updates", "kept", "applied"), none)
    return {"parameters": SOURCE, **vectors, **counters}


def _after(kept: list[list[int]], config: MethodConfig, state: State | None = None) -> State:
    """The state after one step for each row of `kept`; an image that is not gives no gradient."""
    state = state or _state()
    for row in kept:
        flags: Tensor = torch.tensor(row, dtype=torch.bool)
        news = NEWS * flags.float().mean()
        state = {**state, **updated(state, news, flags, SOURCE, N, config)}
    return state


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_step_is_as_long_as_its_images_were_reliable(optimizer: str) -> None:
    config = _config(optimizer=optimizer)
    every = _after([[1, 1]] * S, config)["parameters"] - SOURCE
    half = _after([[1, 0]] * S, config)["parameters"] - SOURCE
    # Adam's first step is the sign of the gradient; sgd's is the gradient, itself a half here.
    wanted = every / 2 if optimizer == "adam" else every / 4
    torch.testing.assert_close(half, wanted, rtol=1e-4, atol=2e-7)


def test_a_window_without_a_reliable_image_moves_nothing_not_even_by_momentum() -> None:
    config = _config()
    before = _after([[1, 1]] * S, config)
    assert not torch.equal(before["parameters"], SOURCE)
    after = _after([[0, 0]] * S, config, before)
    for name in ("parameters", "first", "second", "applied"):
        assert torch.equal(after[name], before[name]), name
    assert int(after["updates"]) == int(before["updates"]) + 1


def test_filters_of_a_host_alone_leave_the_step_as_published() -> None:
    config = make_config("eata", accumulation=S, optimizer="adam")
    assert config.reliable == 0
    every = _after([[1, 1]] * S, config)["parameters"] - SOURCE
    half = _after([[1, 0]] * S, config)["parameters"] - SOURCE
    torch.testing.assert_close(half, every, rtol=1e-4, atol=2e-7)
