"""Adapting from a layer on: what comes before it is folded, or calibrated where asked."""

from __future__ import annotations

import pytest
import torch

from edge_tta.adapter import Adapter
from edge_tta.config import SAVED
from edge_tta.engines.base import Backward
from edge_tta.errors import ModelError
from edge_tta.method.state import layer_layout
from tests.adapters import WINDOW, adapter, stream
from tests.networks import network


def test_layers_before_it_are_folded_and_those_from_it_on_adapt() -> None:
    cut = adapter("nanoadapt:tent/edge", "residual", adapt_from="bn2")
    cut.prepare((3, 8, 8))
    step = cut.engine.step
    assert [layer.name for layer in step.program.layers] == ["bn2", "bn3", "bn4"]
    images = stream(1)[0]
    whole = adapter("source", "residual")
    torch.testing.assert_close(cut.predict(images), whole.predict(images))
    for images in stream(2 * WINDOW):
        cut(images)
    assert not torch.equal(cut.state["opt.parameters"], step.source_parameters())
    assert bool(cut.state["calib.recent_offset"].all())


def test_a_folded_adapter_learns_as_one_whose_statistics_below_stay() -> None:
    """With smoothing 1 and no anchoring nothing of the statistics moves, folded or not."""
    options = {"smoothing": 1.0, "adapt_from": "bn2"}
    folded = adapter("nanoadapt:tent/paper", "residual", **options)
    open_one = adapter("nanoadapt:tent/paper", "residual", calibrate_below=True, **options)
    for images in stream(2 * WINDOW):
        folded(images)
        open_one(images)
    assert folded.updates == 2
    one, other = folded.state["opt.parameters"], open_one.state["opt.parameters"]
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("saved", SAVED)
def test_every_executor_folds_alike(saved: str) -> None:
    cut = Adapter(
        network("residual"), backward=Backward(saved), adapt_from="bn3", accumulation=WINDOW
    )
    like = Adapter(
        network("residual"), backward=Backward("stock"), adapt_from="bn3", accumulation=WINDOW
    )
    for images in stream(WINDOW - 1):
        torch.testing.assert_close(cut(images), like(images), atol=1e-3, rtol=1e-3)
    scale = float(like.state["opt.gradient"].abs().max())
    gap = cut.state["opt.gradient"] - like.state["opt.gradient"]
    assert float(gap.abs().max()) <= 0.03 * scale


def test_what_was_learned_from_a_layer_on_is_put_into_the_whole_network() -> None:
    cut = adapter("nanoadapt:tent/edge", "residual", adapt_from="bn2")
    for images in stream(2 * WINDOW):
        cut(images)
    torch.testing.assert_close(cut.folded()(images), cut.predict(images))


def test_parameters_before_the_layer_stay_and_statistics_move_where_asked() -> None:
    cut = adapter("nanoadapt:tent/edge", "residual", adapt_from="bn2", calibrate_below=True)
    for images in stream(2 * WINDOW):
        cut(images)
    step = cut.engine.step
    names = step.parameters.names
    assert "bn2.weight" in names
    assert not {"bn0.weight", "bn1.weight"} & set(names)
    assert not torch.equal(cut.state["opt.parameters"], step.source_parameters())
    offsets = layer_layout(step.program.layers).split(cut.state["calib.recent_offset"])
    assert all(bool(offsets[name].any()) for name in ("bn0", "bn1", "bn2"))


def test_gradients_are_those_of_training_everything() -> None:
    whole = adapter("nanoadapt:tent/edge", "residual")
    cut = adapter("nanoadapt:tent/edge", "residual", adapt_from="bn3", calibrate_below=True)
    images = stream(1)[0]
    whole(images)
    cut(images)
    every = whole.engine.step.parameters.split(whole.state["opt.gradient"])
    own = cut.engine.step.parameters.split(cut.state["opt.gradient"])
    for name, value in own.items():
        torch.testing.assert_close(value, every[name])


def test_a_layer_that_is_not_there_is_told() -> None:
    with pytest.raises(ModelError, match=r"no BatchNorm named 'bn9'; .* bn"):
        adapter("nanoadapt:tent/edge", "residual", adapt_from="bn9")(stream(1)[0])
