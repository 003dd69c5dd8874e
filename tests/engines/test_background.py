"""`Background`: predictions go on at the latest state while a thread learns."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.background import Background
from edge_tta.bundle.folding import FoldedSession
from edge_tta.errors import BundleError
from edge_tta.guard import Guard
from tests.adapters import WINDOW, adapter, assert_same, stream
from tests.bundle.bundles import kept

IMAGES = stream(WINDOW + 2, n=1)


def _adapter(backend: str) -> Adapter:
    if backend == "onnx":
        return Adapter(kept())
    return adapter("nanoadapt:tent/edge", "residual")


def _images(backend: str) -> list[Any]:
    return [image.numpy() if backend == "onnx" else image for image in IMAGES]


class _Slow:
    """An engine that learns only when it is let."""

    def __init__(self, engine: Any) -> None:
        self._engine, self.go, self.learned_from = engine, threading.Event(), []

    def learn(self, batch: Any, state: Any, views: int) -> Any:
        self.learned_from.append(batch)
        assert self.go.wait(20)
        return self._engine.learn(batch, state, views)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def _slow(background: Background) -> _Slow:
    background._learner = slow = _Slow(background._learner)  # type: ignore[assignment]
    return slow


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_where_there_is_time_it_learns_as_the_adapter_itself(backend: str) -> None:
    like = _adapter(backend)
    with Background(_adapter(backend)) as background:
        for image in _images(backend):
            before = like.state
            like(image)
            answer = background(image)
            background.wait()
            like_before = _adapter(backend)
            like_before.prepare(tuple(image.shape[1:]))
            if before:
                like_before.restore(before)
            torch.testing.assert_close(
                torch.as_tensor(answer), torch.as_tensor(like_before.predict(image))
            )
        assert background.updates == like.updates >= 1
        for name, value in like.state.items():
            assert np.array_equal(np.asarray(background.state[name]), np.asarray(value)), name


def test_no_prediction_waits_for_a_step_and_the_newest_frame_is_learned_from() -> None:
    with Background(_adapter("torch")) as background:
        background(IMAGES[0])
        background.wait()
        slow, steps = _slow(background), background.steps
        began_s = time.monotonic()
        answers = [background(image) for image in IMAGES[1:5]]
        assert time.monotonic() - began_s < 10
        assert len(answers) == 4
        assert background.steps == steps
        slow.go.set()
        background.wait()
        assert torch.equal(slow.learned_from[-1], IMAGES[4])
        assert background.steps == steps + len(slow.learned_from) <= steps + 2


@pytest.mark.parametrize("what", ["reset", "restore"])
def test_what_is_being_learned_does_not_outlive_a_reset(what: str) -> None:
    with Background(_adapter("torch")) as background:
        background(IMAGES[0])
        background.wait()
        state = background.state
        slow = _slow(background)
        background(IMAGES[1])
        while not slow.learned_from:
            time.sleep(0.001)
        background.reset() if what == "reset" else background.restore(state)
        expected = background.state
        slow.go.set()
        background.wait()
        assert_same(background.state, expected)
        background(IMAGES[2])
        background.wait()
        assert background.steps == int(expected["steps"]) + 1


def test_what_fails_in_learning_is_raised_by_the_next_call() -> None:
    with Background(_adapter("torch")) as background:
        background(IMAGES[0])
        background.wait()
        slow = _slow(background)

        def fail(*arguments: Any) -> Any:
            raise BundleError("onnxruntime cannot run it; free memory")

        slow.learn = fail  # type: ignore[method-assign]
        background(IMAGES[1])
        with pytest.raises(BundleError, match="free memory"):
            background.wait()
        background(IMAGES[2])
        with pytest.raises(BundleError, match="free memory"):
            background.wait()


def test_it_saves_and_a_guard_judges_it_as_the_adapter(tmp_path: Any) -> None:
    path = tmp_path / "s.safetensors"
    with Background(_adapter("onnx")) as background:
        guard = Guard(background)
        for image in _images("onnx"):
            guard(image)
            background.wait()
        background.save(path)
        state = background.state
    assert guard.source_frames >= 1
    again = _adapter("onnx")
    again.load(path)
    assert_same(
        {name: torch.from_numpy(value) for name, value in again.state.items()},
        {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()},
    )


def test_the_callers_array_may_be_used_again() -> None:
    like = _adapter("onnx")
    with Background(_adapter("onnx")) as background:
        buffer = np.empty_like(_images("onnx")[0])
        for image in _images("onnx")[:4]:
            like(image)
            buffer[...] = image
            background(buffer)
            buffer[...] = np.nan
            background.wait()
        for name, value in like.state.items():
            np.testing.assert_array_equal(background.state[name], value, err_msg=name)


def test_of_a_prepared_adapter_the_source_is_known_and_folded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folds = []
    fold = FoldedSession.fold

    def counted(self: FoldedSession, vectors: Any) -> None:
        folds.append(self)
        fold(self, vectors)

    monkeypatch.setattr(FoldedSession, "fold", counted)
    adapter = _adapter("onnx")
    adapter.prepare((3, 8, 8))
    with Background(adapter) as background:
        background(IMAGES[0].numpy())
        background.wait()
        for image in _images("onnx"):
            background.predict_source(image)
            background.predict(image)
        assert len(folds) == 2  # the source's network, and the adapted one


def test_a_source_that_is_predicted_while_the_next_state_is_ready_needs_no_network_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    make = FoldedSession.__init__

    def counted(self: FoldedSession, *arguments: Any) -> None:
        made.append(self)
        make(self, *arguments)

    monkeypatch.setattr(FoldedSession, "__init__", counted)
    adapter = _adapter("onnx")
    adapter.prepare((3, 8, 8))
    engine, states = adapter.engine, [adapter.state]
    image = IMAGES[0].numpy()
    for _ in range(3):
        states.append(engine.observe(image, states[-1])[1])
    made.clear()
    engine.predict(image, states[0])
    for now, coming in itertools.pairwise(states):
        engine.ready(coming)
        engine.predict(image, now)  # before the new state is told of
        engine.predict(image, coming)
    assert len(made) == 2
    engine.predict(image, states[0])
    assert len(made) == 3
    # From now on the source has its own, and it costs no folding.
    engine.predict(image, states[-1])
    engine.predict(image, states[0])
    assert len(made) == 3


def test_once_closed_it_says_so_and_waiting_ends() -> None:
    background = Background(_adapter("torch"))
    background(IMAGES[0])
    background(IMAGES[1])
    background.close()
    background.wait()
    background.close()
    with pytest.raises(ValueError, match="closed"):
        background(IMAGES[2])
