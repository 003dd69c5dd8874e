"""A trace of the step is the whole algorithm: no branch of it was taken by the data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from edge_tta.method.state import State
from edge_tta.method.step import Step
from tests.adapters import CASES, WINDOW, adapter, shared, stream


@pytest.mark.usefixtures("reachable_margins")
@pytest.mark.parametrize("case", CASES)
def test_a_trace_made_on_one_batch_computes_the_others(case: str) -> None:
    config = adapter(case).config
    views = 1 + config.views.count
    step = Step(shared("residual").program((3, 8, 8)), config, traced=True)

    def learn(images: Tensor, state: State) -> tuple[Tensor, State]:
        return step.learn(images, state, views=views)

    batches = stream(3 * WINDOW, n=2 * views)
    state = step.initial_state()
    traced = make_fx(learn)(batches[0], state)
    for images in batches:
        logits, new = learn(images, state)
        traced_logits, traced_new = traced(images, state)
        torch.testing.assert_close(traced_logits, logits, rtol=1e-5, atol=1e-6)
        assert traced_new.keys() == new.keys()
        for name, value in new.items():
            torch.testing.assert_close(traced_new[name], value, rtol=1e-4, atol=1e-6)
        state = new
