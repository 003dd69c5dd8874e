"""Adapters that are made of another one keep what was chosen of the network and its layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.config import HOSTS, METHODS, make_config
from edge_tta.engines.base import Backward
from edge_tta.engines.torch import TorchEngine
from edge_tta.errors import ConfigError
from edge_tta.prepare import InputSpec
from tests.adapters import WINDOW, assert_same, shared, stream

SPEC = InputSpec(size=8, scale=255.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
CHOSEN = {
    "adapt_from": "bn1",
    "calibrate_below": True,
    "train": "affine+conv",
    "depth": 2,
    "views": 2,
    "seed": 5,
}
LABELS = [m for m in METHODS if m != "nanoadapt"] + [f"nanoadapt:{host}" for host in HOSTS]


def _adapter(method: str = "nanoadapt:tent", **options: Any) -> Adapter:
    """One whose every choice differs from the default."""
    given = {
        "input_spec": SPEC,
        "backward": Backward("float16"),
        "accumulation": WINDOW,
        **CHOSEN,
        **options,
    }
    return Adapter(shared("residual"), method, **given)


def _of_network(adapter: Adapter) -> tuple[object, ...]:
    engine = adapter.engine
    assert isinstance(engine, TorchEngine)
    return engine.network, engine.input_spec, engine.backward


@pytest.mark.parametrize("preset", ["edge", "paper"])
@pytest.mark.parametrize("method", ["nanoadapt:tent", "nanoadapt:norm"])
def test_a_fresh_copy_is_the_same_adapter_from_the_source(method: str, preset: str) -> None:
    used, new = (_adapter(method, preset=preset, learning_rate=0.01) for _ in range(2))
    for images in stream(WINDOW + 1):
        used(images)
    state, copied = used.state, used.fresh_copy()
    assert copied.config == used.config == new.config
    assert _of_network(copied) == _of_network(used)
    assert (copied.state, copied.steps) == ({}, 0)
    for images in stream(WINDOW + 1, seed=1):
        assert torch.equal(copied(images), new(images))
    assert_same(copied.state, new.state)
    assert_same(used.state, state)


@pytest.mark.parametrize("label", LABELS)
def test_another_method_keeps_network_precision_layers_and_views(label: str) -> None:
    adapting = _adapter()
    other = adapting.with_method(label, "edge")
    kept = CHOSEN if make_config(label).trains else {
        name: CHOSEN[name] for name in ("adapt_from", "calibrate_below")
    }  # fmt: skip
    assert other.config == make_config(label, preset="edge", **kept)
    assert _of_network(other) == _of_network(adapting)
    assert other.steps == 0


def test_another_method_takes_the_preset_that_is_asked_for() -> None:
    other = _adapter().with_method("nanoadapt:eata", "paper")
    assert other.config == make_config("nanoadapt:eata", preset="paper", **CHOSEN)


def test_a_method_that_is_not_there_is_refused_and_the_adapter_goes_on() -> None:
    adapting, alike = _adapter(), _adapter()
    with pytest.raises(ConfigError, match="unknown method 'tnet'"):
        adapting.with_method("tnet")
    with pytest.raises(ConfigError, match="unknown preset 'edgy'"):
        adapting.with_method("nanoadapt:tent", "edgy")
    images = stream(1)[0]
    assert torch.equal(adapting(images), alike(images))


def test_checkpointing_is_kept_by_copies_and_by_methods_that_allow_it() -> None:
    pytest.importorskip("edge_tta.network.checkpointing")
    adapting = Adapter(shared("residual"), backward=Backward(checkpointing=2))
    for other in (adapting.fresh_copy(), adapting.with_method("nanoadapt:eata", "edge")):
        assert _of_network(other) == _of_network(adapting)
    # Tent's gradient goes through the statistics, whose layers cannot run again.
    tent = adapting.with_method("tent")
    assert tent.config == make_config("tent")
    assert _of_network(tent) == (*_of_network(adapting)[:2], Backward())


@pytest.mark.parametrize("name", ["saved", "activation_checkpointing"])
def test_an_option_that_has_moved_says_where(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is no option of an adapter; give "):
        Adapter(shared("residual"), **{name: "tent"})


def test_a_state_of_another_adapter_that_is_restored_may_be_saved(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first = _adapter()
    for images in stream(WINDOW + 1):
        first(images)
    second = first.fresh_copy()
    second.prepare((3, 8, 8))
    second.restore(first.state)
    second.save(tmp_path / "state")
    third = first.fresh_copy()
    third.load(tmp_path / "state")
    assert_same(third.state, first.state)


@pytest.mark.parametrize(
    "option",
    [
        {"method": "tent"},
        {"learning_rate": 0.5},
        {"backward": Backward("int8")},
        {"source_images": torch.zeros(64, 3, 8, 8)},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_engine_has_its_method_and_options(option: dict[str, Any]) -> None:
    engine = _adapter().engine
    assert Adapter(engine).engine is engine
    with pytest.raises(ConfigError, match="give it alone"):
        Adapter(engine, **option)


def test_the_host_may_be_named_beside_the_method() -> None:
    model = shared("residual")
    for adapting in (
        Adapter(model, "nanoadapt", "eata", "paper", "cpu"),
        Adapter(model, method="nanoadapt", host="eata", preset="paper", device="cpu"),
        Adapter(model, "nanoadapt:eata", host="eata", preset="paper"),
    ):
        assert adapting.config == make_config("nanoadapt:eata", preset="paper")
    with pytest.raises(ConfigError, match="'nanoadapt:norm' and host 'tent' contradict each other"):
        Adapter(model, "nanoadapt:norm", "tent")
    with pytest.raises(ConfigError, match=r"unknown host 'paper' \(a preset is given as preset="):
        Adapter(model, "nanoadapt", "paper")
    with pytest.raises(ConfigError, match="unknown host 'tnet'; expected one of norm, tent"):
        Adapter(model, "tent", "tnet")


def test_a_share_of_layers_is_kept_by_nanoadapt_and_not_by_a_baseline() -> None:
    for depth in (0, 0.25, 2):
        adapting = Adapter(shared("residual"), depth=depth)
        assert adapting.with_method("nanoadapt:eata").config.layers.depth == depth
        assert adapting.with_method("tent").config.layers.depth == (2 if depth == 2 else 0)
