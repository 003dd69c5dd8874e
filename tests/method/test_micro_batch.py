"""Anchored calibration updates with the frames of a batch one by one, in their order, and runs
large batches in micro-batches."""

from __future__ import annotations

import pytest
import torch

from edge_tta.method.batches import MICRO_BATCH
from edge_tta.method.step import Step
from tests.adapters import adapter, assert_same, shared, stream


@pytest.mark.parametrize("precision", ["stock", "float32"])
@pytest.mark.parametrize("views", [0, 2])
def test_a_batch_leaves_the_state_that_its_frames_leave_one_by_one(
    views: int, precision: str
) -> None:
    # Everything is in the dead zone, so that every frame is normalised with the source's
    # statistics, in whatever batch it stands.
    config = adapter("nanoadapt:norm/edge", dead_zone=1e6, views=views).config
    step = Step(shared("plain").program((3, 8, 8), precision), config)
    together = alone = step.initial_state()
    for images in stream(5, n=4 * (1 + views)):
        logits, together = step.observe(images, together, views=1 + views)
        for i, frame in enumerate(images.split(1 + views)):
            own, alone = step.observe(frame, alone, views=1 + views)
            torch.testing.assert_close(logits[i : i + 1], own, rtol=1e-4, atol=1e-5)
    assert together.pop("steps") * 4 == alone.pop("steps") == 20
    assert together.keys() == alone.keys()
    assert not torch.equal(
        together["calib.recent_offset"], step.initial_state()["calib.recent_offset"]
    )
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 8), (8, 1), (3, 9), (9, 9)])
def test_frames_count_and_not_batches(sizes: tuple[int, ...]) -> None:
    """What a frame weighs depends on the frames before it, in batches of whatever sizes."""
    frames = torch.cat(list(stream(sum(sizes), n=1)))
    batches, alone = (adapter("nanoadapt:tent/edge", dead_zone=1e6) for _ in range(2))
    for images in frames.split(list(sizes)):
        batches(images, learn=False)
    for images in frames.split(1):
        alone(images, learn=False)
    for name, value in alone.state.items():
        if name != "steps":
            torch.testing.assert_close(batches.state[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learn", [True, False])
def test_a_large_batch_is_as_many_small_ones(learn: bool) -> None:
    (frames,) = stream(1, n=2 * MICRO_BATCH + 3)
    whole, parts = (adapter("nanoadapt:tent/edge", accumulation=2, seed=3) for _ in range(2))
    logits = whole(frames, learn=learn)
    of_parts = [parts(part, learn=learn) for part in frames.tensor_split(3)]
    assert torch.equal(logits, torch.cat(of_parts))
    assert_same(whole.state, parts.state)
    assert whole.steps == parts.steps == 3
    assert whole.updates == parts.updates == int(learn)
    for adapted in (whole, parts):  # and both know where they are
        adapted(frames[:1], learn=learn)
    assert_same(whole.state, parts.state)
