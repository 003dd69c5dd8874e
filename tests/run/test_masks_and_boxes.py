"""Runs of segmenters and detectors: that the source answers is told, and is no alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.guard import Guard
from edge_tta.prepare import Fit, InputSpec
from edge_tta.run import frame_result
from edge_tta.run.frame_result import FrameResult
from edge_tta.run.loop import Loop
from edge_tta.run.predictors import Predictors
from edge_tta.run.sinks import Sink
from edge_tta.run.stopping import StopRequest
from edge_tta.run.summary import guard_line
from edge_tta.show import Overlay, Tone
from edge_tta.tasks import Classes, Detection, Segmentation, Task
from tests.frames.media import textured
from tests.networks import with_statistics
from tests.run.test_loop_faults import Script
from tests.test_adapter_tasks import ANSWERS, SIZE, Dense

NAMES = ("sky", "road", "tree", "car", "sign")


def decode(outputs: Any) -> Any:
    """Two boxes, as sure as the outputs are large."""
    scores = torch.sigmoid(outputs.flatten()[:2].abs() + 1)
    corners = torch.tensor([[0.1, 0.1, 0.4, 0.6], [0.5, 0.2, 0.9, 0.8]])
    return [(corners, scores, torch.tensor([1, 3]))]


TASKS: dict[str, Task] = {"segment": Segmentation(), "detect": Detection(decode)}
every_task = pytest.mark.parametrize("name", TASKS)


def looping(name: str, *sinks: Sink, frames: int = 4, guarded: bool = True) -> Loop:
    """A run of a small segmenter or detector over textured pictures."""
    network = with_statistics(Dense(ANSWERS[name][1]))
    adapter = Adapter(network, "nanoadapt", task=TASKS[name])
    adapter.prepare(SIZE)
    predictors = Predictors(
        adapter,
        Classes(len(NAMES), NAMES),
        task=adapter.task,
        guard=Guard(adapter) if guarded else None,
        compare=(),
    )
    script = Script([textured(number) for number in range(frames)])
    return Loop(script, predictors, InputSpec(SIZE[1:], fit=Fit.STRETCH), sinks)


def _seen(loop: Loop) -> list[FrameResult]:
    with loop:
        return list(loop.frames(StopRequest()))


@every_task
def test_the_source_answers_from_the_first_frame_on_and_nobody_calls_it_harm(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Overlay] = []

    def note(pixels: Any, info: Overlay) -> Any:
        drawn.append(info)
        return pixels

    monkeypatch.setattr(frame_result, "draw", note)
    loop = looping(name)
    seen = _seen(loop)
    why = "the adapted network is not clearly surer than the source"
    for result in seen:
        assert result.why == f"source answers: {why}"
        assert result.guard is not None
        told = result.guard.record()
        assert (told["fell_back"], told["why"], told["source_weight"]) == (False, why, 1.0)
        assert result.picture is not None
    assert [info.tone for info in drawn] == [Tone.CALM] * len(seen)
    events = [event for result in seen if result.guard for event in result.guard.events]
    assert [(event.frame, event.kind) for event in events] == [(0, "source answers")]
    said = guard_line(loop.tally)
    assert said is not None
    assert said.startswith(
        "guard: the source answered 4 of 4 frames, where the adapted network was not clearly surer;"
    )
    assert loop.tally.fallen == 0, "nothing to be printed in yellow"


def test_harm_is_called_harm_of_masks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    adapt = Adapter.__call__

    def breaking(adapter: Adapter, images: Any, *, learn: bool = True) -> Any:
        outputs = adapt(adapter, images, learn=learn)
        return outputs * np.nan if adapter.steps == 3 else outputs

    monkeypatch.setattr(Adapter, "__call__", breaking)
    loop = looping("segment", frames=3)
    *_, last = _seen(loop)
    assert last.why == "fell back to source: its output is not finite"
    assert last.guard is not None
    assert last.guard.record()["fell_back"]
    assert "for 1 of them because its output is not finite" in (guard_line(loop.tally) or "")
