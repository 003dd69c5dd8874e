"""A bundle adapts as PyTorch does; its states are the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tta.adapter import Adapter
from edge_tta.bundle.folder import Bundle
from edge_tta.bundle.runtime import PROFILES
from edge_tta.checkpoint import Arrays
from edge_tta.config import make_config
from edge_tta.engines.base import Backward
from edge_tta.engines.onnx import OnnxEngine
from edge_tta.errors import ConfigError, StateError
from tests.adapters import WINDOW, adapter, stream
from tests.bundle.bundles import fresh, kept

IMAGES = [batch.numpy() for batch in stream(3 * WINDOW, n=1)]


def assert_near(state: Arrays, expected: Arrays) -> None:
    """Within what two ways of summing differ by, after a dozen steps."""
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(float(np.abs(value).max(initial=0)), 1e-6)
        np.testing.assert_allclose(state[name], value, rtol=0, atol=1e-3 * scale, err_msg=name)


def assert_equal(state: Arrays, expected: Arrays) -> None:
    """To the bit."""
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)


def test_a_state_of_pytorch_goes_on_in_a_bundle_and_back(tmp_path: Path) -> None:
    torch_one = adapter("nanoadapt:tent/edge", "residual")
    whole = adapter("nanoadapt:tent/edge", "residual")
    for image in IMAGES:
        whole(image)
    for image in IMAGES[:5]:
        torch_one(image)
    torch_one.save(tmp_path / "a.safetensors")
    bundle = fresh()
    bundle.load(tmp_path / "a.safetensors")
    for image in IMAGES[5:9]:
        bundle(image)
    bundle.save(tmp_path / "b.safetensors")
    torch_one.load(tmp_path / "b.safetensors")
    for image in IMAGES[9:]:
        torch_one(image)
    assert (torch_one.steps, torch_one.updates) == (whole.steps, whole.updates)
    assert_near(
        {name: value.numpy() for name, value in torch_one.state.items()},
        {name: value.numpy() for name, value in whole.state.items()},
    )


def test_state_after_resume_equals_uninterrupted_run(tmp_path: Path) -> None:
    whole, first, second = (fresh() for _ in range(3))
    for image in IMAGES:
        whole(image)
    for image in IMAGES[:5]:
        first(image)
    first.save(tmp_path / "s.safetensors")
    second.load(tmp_path / "s.safetensors")
    assert (second.steps, second.position, second.updates) == (5, 5 % WINDOW, 5 // WINDOW)
    for image in IMAGES[5:]:
        second(image)
    assert_equal(second.state, whole.state)


def test_reset_equals_fresh() -> None:
    used, new = fresh(), fresh()
    for image in IMAGES[:WINDOW]:
        used(image)
    assert used.updates == 1
    used.reset()
    assert_equal(used.state, new.state)
    assert (used.steps, used.position, used.updates) == (0, 0, 0)
    np.testing.assert_array_equal(used(IMAGES[0]), new(IMAGES[0]))


def test_without_learning_parameters_stay_and_statistics_move() -> None:
    bundle = fresh()
    before = bundle.state
    image = IMAGES[0].copy()
    bundle(image, learn=False)
    np.testing.assert_array_equal(image, IMAGES[0])
    np.testing.assert_array_equal(bundle.state["opt.parameters"], before["opt.parameters"])
    assert not np.array_equal(bundle.state["calib.recent_offset"], before["calib.recent_offset"])
    assert (bundle.steps, bundle.position) == (1, 0)


@pytest.mark.parametrize("profile", PROFILES)
def test_what_was_read_stays_as_it_was_whatever_runs_after(profile: str) -> None:
    bundle = Adapter(OnnxEngine(Bundle(kept(), profile=profile)))
    logits = bundle(IMAGES[0])
    state = bundle.state
    kept_logits, before = logits.copy(), {name: value.copy() for name, value in state.items()}
    after = [bundle(image, learn=i % 3 > 0) for i, image in enumerate(IMAGES[1:])]
    bundle.predict(IMAGES[0])
    np.testing.assert_array_equal(logits, kept_logits)
    assert_equal(state, before)
    bundle.restore(state)
    again = [bundle(image, learn=i % 3 > 0) for i, image in enumerate(IMAGES[1:])]
    np.testing.assert_array_equal(again, after)
    assert_equal(state, before)


def test_another_method_of_the_bundle_starts_from_the_source() -> None:
    bundle = fresh()
    bundle(IMAGES[0])
    source = bundle.with_method("source")
    assert source.engine.network is bundle.engine.network
    expected = adapter("source", "residual")(IMAGES[0]).numpy()
    np.testing.assert_allclose(source(IMAGES[0]), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="holds nanoadapt:tent, source, not sar"):
        bundle.with_method("sar")


def test_a_fresh_copy_is_the_same_method_of_the_bundle_from_the_source() -> None:
    used, new = (Adapter(OnnxEngine(Bundle(kept(), profile="memory"))) for _ in range(2))
    for image in IMAGES[:5]:
        used(image)
    copied = used.fresh_copy()
    assert copied.engine.network is used.engine.network
    assert (copied.config, copied.steps) == (used.config, 0)
    for image in IMAGES[:5]:
        np.testing.assert_array_equal(copied(image), new(image))
    assert_equal(copied.state, new.state)


def test_a_copy_with_options_that_the_bundle_has_not_is_refused() -> None:
    engine = fresh().engine
    other = make_config("nanoadapt:tent", learning_rate=0.5)
    with pytest.raises(ConfigError, match="holds nanoadapt:tent with other options; export"):
        engine.with_config(other)


def test_what_only_a_module_can_do_is_refused() -> None:
    bundle = fresh()
    with pytest.raises(ConfigError):
        bundle.folded()
    with pytest.raises(ConfigError):
        bundle.estimate_fisher(IMAGES[0])


@pytest.mark.parametrize(
    "option",
    [
        {"preset": "paper"},
        {"device": "cuda"},
        {"backward": Backward("int8")},
        {"source_images": np.zeros((64, 3, 8, 8), np.float32)},
        {"learning_rate": 0.5},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_a_bundle_has_from_its_export_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="that it was exported with"):
        Adapter(kept(), **option)


def test_an_opened_bundle_is_shared_as_a_network_is() -> None:
    bundle = fresh()
    other = Adapter(bundle.engine.network)
    assert other.engine.network is bundle.engine.network


def test_images_of_another_size_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"for images \(3, 8, 8\), got \(3, 9, 9\); leave --size"):
        fresh().prepare((3, 9, 9))


@pytest.mark.parametrize(
    "images", [IMAGES[0][0], np.concatenate(IMAGES[:2]), IMAGES[0][:, :, :4], IMAGES[0] * np.nan]
)
def test_images_that_do_not_fit_change_nothing(images: np.ndarray) -> None:  # type: ignore[type-arg]
    bundle = fresh()
    before = bundle.state
    with pytest.raises(ValueError, match="images"):
        bundle(images)
    assert_equal(bundle.state, before)


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    other = adapter("nanoadapt:tent/edge", "plain")
    other(IMAGES[0])
    other.save(tmp_path / "s.safetensors")
    bundle = fresh()
    with pytest.raises(StateError, match="another network"):
        bundle.load(tmp_path / "s.safetensors")
    with pytest.raises(StateError, match="nothing to save"):
        bundle.save(tmp_path / "t.safetensors")
