"""A bundle gives a run and its guard what PyTorch's adapter gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tta.adapter import Adapter
from edge_tta.errors import StateError
from edge_tta.guard import Guard, Limits
from edge_tta.prepare import Images
from edge_tta.run.loop import Loop
from edge_tta.run.predictors import Predictors
from edge_tta.run.stopping import StopRequest
from edge_tta.tasks import Classes
from tests.adapters import WINDOW, adapter, stream
from tests.bundle.bundles import SPEC, fresh, kept
from tests.bundle.test_bundle_adapter import assert_equal
from tests.cli.commands import call
from tests.frames.media import textured
from tests.networks import network
from tests.run.test_loop_faults import BLACK, GREEN, Script

IMAGES = [batch.numpy() for batch in stream(2 * WINDOW, n=1)]


def _used() -> Adapter:
    bundle = fresh()
    for image in IMAGES:
        bundle(image)
    return bundle


def test_predictions_and_drift_are_pytorchs_at_the_same_state(tmp_path: Path) -> None:
    bundle = _used()
    bundle.save(tmp_path / "s.safetensors")
    like = adapter("nanoadapt:tent/edge", "residual")
    like.load(tmp_path / "s.safetensors")
    before = bundle.state
    expected = like.predict(IMAGES[0]).numpy()
    np.testing.assert_allclose(bundle.predict(IMAGES[0]), expected, rtol=1e-4, atol=1e-5)
    assert bundle.drift() == pytest.approx(like.drift(), rel=1e-4)
    assert bundle.drift() > 0
    assert_equal(bundle.state, before)


@pytest.mark.parametrize("method", ["nanoadapt:tent", "source"])
def test_source_logits_are_the_networks_own_whatever_was_learned(method: str) -> None:
    bundle = fresh(method)
    for image in IMAGES:
        bundle(image)
    before = bundle.state
    expected = network("residual").eval()(stream(1, n=1)[0]).detach().numpy()
    np.testing.assert_allclose(bundle.predict_source(IMAGES[0]), expected, rtol=1e-4, atol=1e-5)
    assert_equal(bundle.state, before)


def test_a_restored_state_continues_exactly() -> None:
    bundle = fresh()
    for image in IMAGES[:5]:
        bundle(image)
    then = bundle.state
    expected = [bundle(image) for image in IMAGES[5:]]
    bundle.restore(then)
    assert bundle.steps == 5
    for image, logits in zip(IMAGES[5:], expected, strict=True):
        np.testing.assert_array_equal(bundle(image), logits)
    with pytest.raises(StateError, match="not a state of this adapter"):
        bundle.restore(fresh("source").state)


def test_the_guard_changes_no_bit_of_what_a_bundle_says_and_learns() -> None:
    alone, inner = fresh(), fresh()
    guarded = Guard(inner)
    for image in IMAGES:
        guarded(image)
        np.testing.assert_array_equal(guarded.own, alone(image))
    assert guarded.falls == 0
    assert guarded.source_frames > 0
    assert_equal(inner.state, alone.state)


def test_a_fallen_guard_saves_the_state_it_trusts(tmp_path: Path) -> None:
    inner = fresh()
    guarded = Guard(inner, Limits(every=1, fall=-1.0, rise=-1.0))
    for image in IMAGES:
        guarded(image)
    assert guarded.fallen
    guarded.save(tmp_path / "s.safetensors")
    saved = fresh()
    saved.load(tmp_path / "s.safetensors")
    assert saved.steps == 0
    assert inner.steps > 0


def _learned(pixels: list[Images]) -> Adapter:
    bundle = fresh()
    loop = Loop(Script(pixels), Predictors(bundle, Classes(10), compare=()), SPEC)
    assert len(list(loop.frames(StopRequest()))) == len(pixels)
    return bundle


def test_empty_pictures_change_nothing() -> None:
    good = [textured(seed) for seed in range(3)]
    mixed = [good[0], BLACK, good[1], GREEN, good[2]]
    assert_equal(_learned(mixed).state, _learned(good).state)


@pytest.mark.parametrize(
    "words",
    [
        ("--saved", "int8"),
        ("--checkpoint-activations", "auto"),
        ("--budget-mb", 100),
    ],
)
def test_what_is_of_pytorch_is_refused_in_one_line(words: tuple[object, ...]) -> None:
    done = call("run", "demo", "--model", kept(), *words)
    assert done.code == 1
    assert f"{words[0]} is for models that PyTorch runs" in done.err
    assert done.err.count("\n") == 1
