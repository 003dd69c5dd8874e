"""Streams that share a batch equal streams alone, for every method."""

from __future__ import annotations

import pytest
import torch

from edge_tta.method.step import Step, foldable
from tests.adapters import CASES, WINDOW, adapter, shared, stream

STREAMS = 3


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_streams_in_one_batch_equal_streams_alone(case: str, n: int) -> None:
    config = adapter(case, **({"taylor": "none"} if case.startswith("nanoadapt") else {})).config
    assert foldable(config)
    program = shared("plain").program((3, 8, 8))
    together, alone = Step(program, config, STREAMS), Step(program, config)
    views = 1 + config.views
    batches = [stream(3 * WINDOW, n=n * views, seed=seed) for seed in range(STREAMS)]
    state, states = together.initial_state(), [alone.initial_state() for _ in range(STREAMS)]
    for images in zip(*batches, strict=True):
        logits, state = together.learn(torch.cat(images), state, views=views)
        for index, own in enumerate(images):
            wanted, states[index] = alone.learn(own, states[index], views=views)
            found = logits.view(STREAMS, n, -1)[index]
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    for index, wanted_state in enumerate(states):
        assert state.keys() == wanted_state.keys()
        for name, wanted in wanted_state.items():
            torch.testing.assert_close(
                state[name][index], wanted, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: name + m
            )
