"""The comparison of masks and of boxes, alone and in a guard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.guard import Guard, Limits
from edge_tta.guard.comparison import ALIKE, MEMORY, Comparison
from edge_tta.tasks import Detection, Segmentation
from tests.networks import with_statistics
from tests.test_adapter_tasks import ANSWERS, SIZE, Dense

RNG = np.random.default_rng(5)


def _logits(scale: float) -> np.ndarray[Any, Any]:
    """Logits (1, 4, 16, 24); the larger the scale, the surer, of a class drawn for a position."""
    return RNG.normal(size=(1, 4, 16, 24)).astype(np.float32) * scale


def _boxes(*scores: float) -> np.ndarray[Any, Any]:
    """Outputs (1, M) of scores, which `_decode` puts side by side."""
    return np.array([scores], np.float32)


def _decode(outputs: Any) -> list[tuple[Any, Any, Any]]:
    (scores,) = np.asarray(outputs)
    left = np.arange(len(scores)) / 10
    corners = np.stack([left, 0 * left, left + 0.05, 0 * left + 1], 1)
    return [(corners, scores, np.zeros(len(scores)))]


def _told(logits: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Mutual information of positions and classes, and mean entropy, one number at a time."""
    rows = logits[0, :, ::4, ::4].reshape(4, -1).T.astype(float)
    p = [[math.exp(v) / sum(math.exp(u) for u in row) for v in row] for row in rows]
    information = 0.0
    for k in range(4):
        mean = sum(row[k] for row in p) / len(p)
        information += sum(row[k] * math.log(row[k] / mean) for row in p) / len(p)
    return information, -sum(v * math.log(v) for row in p for v in row) / len(p)


@pytest.mark.parametrize(("own", "other"), [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0)])
def test_the_gain_of_a_mask_is_information_less_added_doubt(own: float, other: float) -> None:
    adapted, source = _logits(own), _logits(other)
    (told, doubt), (told_before, doubt_before) = _told(adapted), _told(source)
    gain = told - told_before - max(0.0, doubt - doubt_before)
    assert Segmentation().compare(adapted, source).gain == pytest.approx(
        gain / math.log(4), abs=1e-6
    )


def test_one_class_everywhere_gains_nothing_and_neither_does_seeing_more_and_doubting_it() -> None:
    even, sure = np.zeros((1, 4, 16, 24), np.float32), np.zeros((1, 4, 16, 24), np.float32)
    sure[:, 2] = 20
    assert Segmentation().compare(sure, even).gain == pytest.approx(0, abs=1e-6)
    halves = np.full((1, 4, 16, 24), -20, np.float32)
    halves[:, 0, :8] = halves[:, 1, 8:] = 20.0  # two classes, sure
    doubted = halves.copy()
    doubted[:, 2, :8] = doubted[:, 3, 8:] = 20.0  # four classes in two pairs: as much told
    assert Segmentation().compare(doubted, halves).gain == pytest.approx(-0.5, abs=1e-4)


def test_the_gain_of_boxes_is_that_of_the_highest_score() -> None:
    task = Detection(_decode)
    assert task.compare(_boxes(0.2, 0.7, 0.4), _boxes(0.1, 0.6)).gain == pytest.approx(0.1)
    assert task.compare(_boxes(0.001), _boxes(0.6)).gain == pytest.approx(-0.6)


def test_masks_differ_by_positions_and_boxes_by_those_that_have_no_like() -> None:
    logits = _logits(3.0)
    other = logits.copy()
    other[:, :, :4] = -other[:, :, :4]
    share = float((logits.argmax(1) != other.argmax(1)).mean())
    assert 0 < share == Segmentation().compare(logits, other).differ
    task = Detection(_decode)
    # Side by side: the first two alike, the third seen by one network alone.
    assert task.compare(_boxes(0.9, 0.8), _boxes(0.7, 0.4, 0.6)).differ == pytest.approx(1 - 4 / 5)
    assert task.compare(_boxes(0.1), _boxes(0.2)).differ == 0.0
    assert task.compare(_boxes(0.9), _boxes(0.1)).differ == 1.0


def test_the_weight_is_that_of_the_equation() -> None:
    task = Detection(_decode)
    comparison = Comparison(task)
    gains = [0.0] * ALIKE
    for _ in range(MEMORY - ALIKE):
        adapted, source = RNG.uniform(0.5, 0.9, 2)
        gains.append(float(np.float32(adapted) - np.float32(source)))
        comparison.compare([], _boxes(adapted)[0], _boxes(source)[0])
        gain = sum(gains) / len(gains)
        assert comparison.gain == pytest.approx(gain, abs=1e-6)
        assert comparison.weight == (0.0 if gain > task.margin else 1.0)


def test_outputs_that_are_not_finite_say_nothing() -> None:
    masks, boxes = Comparison(Segmentation()), Comparison(Detection(_decode))
    for _ in range(20):
        masks.compare([], _logits(5.0)[0], _logits(1.0)[0])
        boxes.compare([], _boxes(0.9)[0], _boxes(0.6)[0])
    gains = masks.gain, boxes.gain
    masks.compare([], np.full((4, 16, 24), np.nan, np.float32), _logits(1.0)[0])
    boxes.compare([], _boxes(np.nan)[0], _boxes(0.6)[0])
    boxes.compare([], _boxes(0.9)[0], _boxes(np.inf)[0])
    assert (masks.gain, boxes.gain) == gains
    assert (masks.weight, boxes.weight) == (0.0, 0.0)


class _Scripted:
    """An adapter whose masks are written down."""

    task = Segmentation()

    def __init__(self, own: Any, source: Any) -> None:
        self.own, self.source = own, source
        self.state: dict[str, Any] = {}
        self.source_state, self.steps = self.state, 0

    def __call__(self, images: Any, *, learn: bool = True) -> Any:
        return self.own

    def predict(self, images: Any) -> Any:
        return self.own

    def predict_source(self, images: Any) -> Any:
        return self.source

    def drift(self) -> float:
        return 0.0

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def reset(self) -> None:
        """Nothing to reset."""


@pytest.mark.parametrize(("own", "source", "adapted"), [(5, 1, True), (1, 5, False), (3, 3, False)])
def test_a_guard_gives_the_mask_that_tells_more_and_in_doubt_the_sources(
    own: float, source: float, adapted: bool
) -> None:
    scripted = _Scripted(_logits(own), _logits(source))
    if own == source:
        scripted.source = np.roll(scripted.own, 4, -1)  # as much, elsewhere
    guard = Guard(scripted)  # type: ignore[arg-type]
    images = RNG.normal(size=(1, 3, 16, 24)).astype(np.float32)
    for _ in range(8):
        answer = guard(images)
    assert answer is (scripted.own if adapted else scripted.source)
    assert guard.predict(images) is answer
    assert (guard.fallen is None) == adapted
    assert guard.adapts, "every frame is adapted by, near-copies too"


def test_a_users_decode_gets_what_the_network_returns() -> None:
    def decode(outputs: Any) -> Any:
        assert isinstance(outputs, torch.Tensor)
        scores = outputs.sigmoid().flatten()[:3]
        return [(torch.rand(3, 4), scores, torch.zeros(3))]

    network = with_statistics(Dense(ANSWERS["detect"][1]))
    guard = Guard(Adapter(network, "nanoadapt", task=Detection(decode)))
    for _ in range(3):
        assert isinstance(guard(torch.randn(1, *SIZE)), torch.Tensor)
    assert guard.source_frames > 0


@pytest.mark.parametrize("name", ["segment", "segment by name"])
def test_a_guarded_segmenter_answers_with_one_of_both_networks(name: str) -> None:
    adapter = Adapter(with_statistics(Dense(ANSWERS[name][1])), "nanoadapt")
    guard = Guard(adapter)
    generator = torch.Generator().manual_seed(3)
    for _ in range(6):
        answer = guard(torch.randn((1, *SIZE), generator=generator) * 3 + 1)
        assert answer is guard.own or answer is guard.compared
    assert guard.source_frames >= 3


def test_statistics_that_are_not_needed_are_no_reason_to_begin_anew() -> None:
    scripted = _Scripted(_logits(1), _logits(5))
    guard = Guard(scripted, Limits(patience=4))  # type: ignore[arg-type]
    images = RNG.normal(size=(1, 3, 16, 24)).astype(np.float32)
    for _ in range(20):
        guard(images)
    assert [(event.kind, event.why) for event in guard.events] == [
        ("source answers", Comparison.doubt)
    ]
    assert (guard.falls, guard.harmed) == (0, False)
    scripted.own, scripted.source = scripted.source, scripted.own
    for _ in range(40):
        guard(images)
    assert [(event.kind, event.why) for event in guard.events][1:] == [
        ("adapted answers", Comparison.trust)
    ]


@pytest.mark.parametrize("surer", [True, False])
def test_harm_of_one_frame_is_told_once_and_forgotten(surer: bool) -> None:
    good = _logits(5 if surer else 1)
    scripted = _Scripted(good, _logits(1 if surer else 5))
    guard = Guard(scripted)  # type: ignore[arg-type]
    images = RNG.normal(size=(1, 3, 16, 24)).astype(np.float32)
    for own in [good] * 5 + [np.full_like(good, np.nan)] * 2 + [good] * 5:
        scripted.own = own
        assert guard(images) is (good if surer and own is good else scripted.source)
    assert (guard.falls, guard.harmed) == (1, False)
    told = [event.kind for event in guard.events if event.kind not in ("restored", "reset")]
    answers = "adapted answers" if surer else "source answers"
    assert told[-2:] == ["fell back", answers]
