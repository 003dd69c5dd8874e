"""The guard around a real adapter."""

from __future__ import annotations

import pytest
import torch

from edge_tta import Adapter
from edge_tta.config import METHODS
from edge_tta.errors import StateError
from edge_tta.guard import Guard, Limits
from tests.adapters import adapter, assert_same, stream
from tests.networks import network

pytestmark = pytest.mark.usefixtures("reachable_margins")

CASES = [method for method in METHODS if method not in ("source", "nanoadapt")]
CASES += ["nanoadapt:tent/edge", "nanoadapt:tent/paper"]


@pytest.mark.parametrize("case", CASES)
def test_the_guard_changes_no_bit_of_what_the_adapter_says_and_learns(case: str) -> None:
    alone, guarded = adapter(case), Guard(inner := adapter(case))
    for images in stream(12, n=1):
        guarded(images)
        assert torch.equal(guarded.own, alone(images))
    assert guarded.falls == 0
    assert_same(inner.state, alone.state)


@pytest.mark.parametrize("case", CASES)
def test_source_logits_are_the_networks_own_whatever_was_learned(case: str) -> None:
    own = adapter(case)
    batches = stream(12)
    for images in batches:
        own(images)
    before = own.state
    expected = network("used-twice").eval()(batches[-1])
    torch.testing.assert_close(own.predict_source(batches[-1]), expected, rtol=1e-4, atol=1e-5)
    assert_same(own.state, before)


def test_a_prediction_is_blended_as_an_answer_is_and_changes_nothing() -> None:
    own = adapter("nanoadapt:tent/edge")
    guard = Guard(own, Limits(decided=0.0, worth=-1.0))
    for images in stream(6):
        guard(images)
    before, frames = own.state, guard.frames
    told = guard.predict(images)
    assert torch.equal(guard.own, own.predict(images))
    assert torch.equal(guard.compared, own.predict_source(images))
    assert not torch.equal(guard.own, guard.compared)
    logs = [torch.log_softmax(logits, 1) for logits in (guard.own, guard.compared)]
    blended = torch.lerp(logs[0], logs[1], guard.weight)
    torch.testing.assert_close(told, torch.log_softmax(blended, 1), rtol=1e-5, atol=1e-5)
    assert guard.frames == frames + len(images)
    assert_same(own.state, before)


def test_a_restored_state_continues_exactly() -> None:
    own = adapter("nanoadapt:tent/edge")
    batches = stream(12)
    for images in batches[:5]:
        own(images)
    kept = own.state
    wanted = [own(images) for images in batches[5:]]
    own.restore(kept)
    assert own.steps == 5
    for images, logits in zip(batches[5:], wanted, strict=True):
        assert torch.equal(own(images), logits)


def test_a_state_of_another_method_is_refused() -> None:
    own, other = adapter("tent"), adapter("norm")
    images = stream(1)[0]
    own(images)
    other(images)
    with pytest.raises(StateError, match="not a state of this adapter"):
        own.restore(other.state)
    with pytest.raises(StateError, match="not a state of this adapter"):
        adapter("tent").restore({})


def test_drift_is_zero_at_the_source_and_grows_with_learning() -> None:
    own: Adapter = adapter("tent")
    assert own.drift() == 0
    for images in stream(6):
        own(images)
    assert 0 < own.drift() < 1
    own.reset()
    assert own.drift() == 0
