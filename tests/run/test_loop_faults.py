"""Frames that show nothing, or are no pictures: seen or counted, never learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.frames.source import Frame, FrameSource
from edge_tta.prepare import InputSpec
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.loop import Loop
from edge_tta.run.predictors import Predictors
from edge_tta.run.stopping import StopRequest
from edge_tta.tasks import Classes
from tests.frames.media import textured
from tests.networks import network

BLACK = np.zeros((48, 64, 3), np.uint8)
GREEN = np.full((48, 64, 3), (0, 135, 0), np.uint8)


class Script(FrameSource):
    """Gives these arrays as frames, whatever they are."""

    def __init__(self, pixels: Sequence[Any]) -> None:
        super().__init__("script", length=len(pixels))
        self._left = list(enumerate(pixels))

    def read(self) -> Frame | None:
        if not self._left:
            return None
        index, pixels = self._left.pop(0)
        return Frame(index, pixels, float(index), f"script#{index}")


def _run(pixels: Sequence[Any], *beside: str) -> tuple[Loop, Script, Adapter, list[FrameResult]]:
    adapter = Adapter(network("plain"), "nanoadapt:tent", accumulation=2)
    source = Script(pixels)
    classes = Classes(adapter.prepare((3, 16, 16)))
    loop = Loop(source, Predictors(adapter, classes, compare=beside), InputSpec(16))
    return loop, source, adapter, list(loop.frames(StopRequest()))


def _state(adapter: Adapter) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in adapter.state.items()}


def test_black_and_blank_frames_are_predicted_and_change_nothing() -> None:
    good = [textured(seed) for seed in range(4)]
    mixed = [good[0], BLACK, good[1], GREEN, BLACK, good[2], good[3]]
    loop, source, adapter, seen = _run(mixed, "norm")
    _, _, plain, expected = _run(good, "norm")
    assert len(seen) == 7
    assert loop.tally.not_learned == {"black": 2, "blank": 1}
    assert not source.dropped
    assert [one.outcome.adapts for one in seen] == [True, False, True, False, False, True, True]
    assert seen[1].why == "black picture: nothing to learn from"
    assert _state(adapter) == _state(plain)
    # The method beside has learned from the same frames.
    assert seen[-1].compared["norm"] == expected[-1].compared["norm"]
    assert seen[-1].reading == expected[-1].reading


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (np.full((48, 64, 3), np.nan, np.float32), "not finite"),
        (np.ones((48, 64, 3), np.float32), "wrong format"),
        (textured(9)[..., 0], "wrong format"),
        (textured(9)[..., :2], "wrong format"),
        (np.zeros((0, 64, 3), np.uint8), "wrong format"),
        (textured(9).astype(np.uint16), "wrong format"),
        (None, "wrong format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_is_left_out_and_counted(pixels: Any, why: str) -> None:
    good = [textured(seed) for seed in range(3)]
    _, source, adapter, seen = _run([good[0], pixels, good[1], pixels, good[2]])
    _, _, plain, _ = _run(good)
    assert [one.frame.name for one in seen] == ["script#0", "script#2", "script#4"]
    assert source.dropped == {why: 2}
    assert _state(adapter) == _state(plain)


def test_a_stream_of_nothing_but_faults_ends() -> None:
    loop, source, adapter, seen = _run([None] * 5)
    assert not seen
    assert loop.tally.frames == adapter.steps == 0
    assert source.dropped == {"wrong format": 5}


def test_the_first_frame_may_be_black() -> None:
    _, _, adapter, seen = _run([BLACK, textured(0)])
    assert [one.outcome.adapts for one in seen] == [False, True]
    assert adapter.steps == 1
    assert torch.isfinite(torch.tensor(seen[0].reading.confidence))
