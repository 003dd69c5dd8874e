"""Anchored calibration takes up the frames of a batch one by one, in their order."""

from __future__ import annotations

import pytest
import torch

from edge_tta.method.step import Step
from tests.adapters import adapter, shared, stream


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
