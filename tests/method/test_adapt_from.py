"""Training from a layer on: what comes before it keeps its parameters, and is calibrated."""

from __future__ import annotations

import pytest
import torch

from edge_tta.errors import ModelError
from tests.adapters import WINDOW, adapter, stream


def test_parameters_before_the_layer_stay_and_statistics_move() -> None:
    cut = adapter("nanoadapt:tent/edge", "residual", adapt_from="bn2")
    for images in stream(2 * WINDOW):
        cut(images)
    step = cut.prepare((3, 8, 8))
    names = step.parameters.names
    assert "bn2.weight" in names
    assert not {"bn0.weight", "bn1.weight"} & set(names)
    assert not torch.equal(cut.state["parameters"], step.source_parameters())
    offsets = step.layers.split(cut.state["offset"])
    assert all(bool(offsets[name].any()) for name in ("bn0", "bn1", "bn2"))


def test_gradients_are_those_of_training_everything() -> None:
    whole = adapter("nanoadapt:tent/edge", "residual")
    cut = adapter("nanoadapt:tent/edge", "residual", adapt_from="bn3")
    images = stream(1)[0]
    whole(images)
    cut(images)
    every = whole.prepare((3, 8, 8)).parameters.split(whole.state["gradient"])
    for name, value in cut.prepare((3, 8, 8)).parameters.split(cut.state["gradient"]).items():
        torch.testing.assert_close(value, every[name])


def test_a_layer_that_is_not_there_is_told() -> None:
    with pytest.raises(ModelError, match=r"no BatchNorm named 'bn9'; .* bn"):
        adapter("nanoadapt:tent/edge", "residual", adapt_from="bn9")(stream(1)[0])
