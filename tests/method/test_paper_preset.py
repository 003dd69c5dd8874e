"""The `paper` preset equals the plain reference over 50 steps (NanoAdapt Eq. 4-12)."""

from __future__ import annotations

import copy

import pytest
import torch

from edge_tta.config import MethodConfig, make_config
from edge_tta.method.state import layer_layout
from edge_tta.method.step import Step
from edge_tta.network.capture import capture
from tests.method.reference import Reference
from tests.networks import frozen, network


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("gradient", ["proxy", "calibrated", "constant"])
def test_paper_preset_equals_the_reference_over_50_steps(gradient: str, dtype: torch.dtype) -> None:
    _compare(make_config(preset="paper", gradient=gradient, accumulation=4), dtype)


def test_adapting_convolutions_equals_the_reference_over_50_steps() -> None:
    config = make_config(preset="paper", train="affine+conv", taylor="affine+conv", accumulation=4)
    _compare(config, torch.float64)


def _compare(config: MethodConfig, dtype: torch.dtype) -> None:
    net = network("residual")
    reference = Reference(
        copy.deepcopy(net).double().requires_grad_(False),
        smoothing=config.calibration.smoothing,
        steps=config.optimizer.accumulation,
        learning_rate=config.optimizer.learning_rate,
        gradient=config.calibration.gradient,
        with_convolutions=config.layers.train == "affine+conv",
    )
    step = Step(capture(frozen(net, dtype), (3, 10, 9)), config)
    state = step.initial_state()
    views = 1 + config.views.count
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for t in range(50):
        # A drifting stream, so that history and batch disagree.
        images = torch.randn((views, 3, 10, 9), generator=generator) * (1 + t / 50) + t / 40
        expected = reference(images.double(), views)
        logits, state = step.learn(images.to(dtype), state, views=views)
        worst = max(worst, float((logits.double() - expected).abs().max()))
    assert worst < 1e-5 * max(1.0, float(expected.abs().max()))
    assert int(state["opt.updates"]) == 50 // config.optimizer.accumulation
    parameters = step.parameters.split(state["opt.parameters"])
    moved = 0.0
    for name, value in parameters.items():
        wanted = reference.net.get_parameter(name).detach()
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-5)
        moved = max(moved, float((wanted - net.get_parameter(name)).abs().max()))
    assert moved > 5 * config.optimizer.learning_rate  # it did learn
    layers = layer_layout(step.program.layers)
    offsets = layers.split(state["calib.offset"])
    variances = layers.split(state["calib.variance"])
    for layer in step.program.layers:
        first, second = reference.first[layer.name], reference.second[layer.name]
        torch.testing.assert_close(
            (layer.mean + offsets[layer.name]).double(), first, rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(
            variances[layer.name].double(), second - first**2, rtol=1e-5, atol=1e-5
        )
