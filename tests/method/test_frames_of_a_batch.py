"""Anchored calibration takes up the frames of a batch one by one, in their order, and runs large
batches in parts."""

from __future__ import annotations

import pytest
import torch

from edge_tta.method.anchored import MOST_TOGETHER
from edge_tta.method.step import Step
from tests.adapters import adapter, assert_same, shared, stream


@pytest.mark.parametrize("precision", ["stock", "float32"])
@pytest.mark.parametrize("over", ["views", "frame"])
@pytest.mark.parametrize("views", [0, 2])
def test_a_batch_is_taken_up_as_its_frames_one_by_one(
    views: int, over: str, precision: str
) -> None:
    # Nothing is believed, so that every frame is normalised with the source's statistics, in
    # whatever batch it stands.
    config = adapter("nanoadapt:norm/edge", mismatch=1e6, views=views, statistics_over=over).config
    step = Step(shared("plain").program((3, 8, 8), precision), config)
    together = alone = step.initial_state()
    for images in stream(5, n=4 * (1 + views)):
        logits, together = step.observe(images, together, views=1 + views)
        for i, frame in enumerate(images.split(1 + views)):
            own, alone = step.observe(frame, alone, views=1 + views)
            torch.testing.assert_close(logits[i : i + 1], own, rtol=1e-4, atol=1e-5)
    assert together.pop("steps") * 4 == alone.pop("steps") == 20
    assert together.keys() == alone.keys()
    assert not torch.equal(together["offset"], step.initial_state()["offset"])
    for name, wanted in alone.items():
        torch.testing.assert_close(together[name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learn", [True, False])
def test_a_large_batch_is_as_many_small_ones(learn: bool) -> None:
    (frames,) = stream(1, n=2 * MOST_TOGETHER + 3)
    whole, parts = (adapter("nanoadapt:tent/edge", accumulation=2, seed=3) for _ in range(2))
    logits = whole(frames, learn=learn)
    found = [parts(part, learn=learn) for part in frames.split(MOST_TOGETHER)]
    assert torch.equal(logits, torch.cat(found))
    assert_same(whole.state, parts.state)
    assert whole.steps == parts.steps == 3
    assert whole.updates == parts.updates == int(learn)
    for adapted in (whole, parts):  # and both know where they are
        adapted(frames[:1], learn=learn)
    assert_same(whole.state, parts.state)


def test_streams_in_one_large_batch_equal_streams_alone() -> None:
    config = adapter("nanoadapt:tent/edge", accumulation=2).config
    program = shared("plain").program((3, 8, 8))
    together, alone = Step(program, config, 2), Step(program, config)
    batches = [stream(1, n=MOST_TOGETHER + 2, seed=seed)[0] for seed in range(2)]
    logits, state = together.learn(torch.cat(batches), together.initial_state())
    for index, images in enumerate(batches):
        wanted, own = alone.learn(images, alone.initial_state())
        found = logits.view(2, -1, wanted.shape[1])[index]
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
        for name, value in own.items():
            torch.testing.assert_close(state[name][index], value, rtol=1e-3, atol=1e-4)
