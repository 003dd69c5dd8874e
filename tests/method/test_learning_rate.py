"""A learning rate that is for a batch of N_0 frames, in batches of N."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_tta.config import make_config
from edge_tta.method.step import Step
from tests.adapters import shared, stream

STREAMS = 2


def _moved(frames: int, views: int = 1, streams: int | None = None, **options: float) -> Tensor:
    """How far a first SGD step moves the parameters, (..., P)."""
    config = make_config("tent", optimizer="sgd", **options)
    step = Step(shared("residual").program((3, 8, 8)), config, streams)
    images = stream(1, n=4)[0].repeat(-(-frames * views // 4), 1, 1, 1)[: frames * views]
    images = images.repeat(streams or 1, 1, 1, 1)
    _, state = step.learn(images, step.initial_state(), views=views)
    return state["parameters"] - step.source_parameters()


@pytest.mark.parametrize(("frames", "share"), [(4, 0.25), (8, 0.5), (16, 1.0), (32, 1.0)])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("streams", [None, STREAMS])
def test_a_smaller_batch_takes_its_share_and_a_larger_one_the_whole(
    frames: int, share: float, views: int, streams: int | None
) -> None:
    whole = _moved(frames, views, streams, learning_rate=1.0)
    scaled = _moved(frames, views, streams, learning_rate=1.0, reference_batch=16)
    assert float(whole.abs().max()) > 1e-3
    torch.testing.assert_close(scaled, share * whole, rtol=1e-4, atol=1e-6)
