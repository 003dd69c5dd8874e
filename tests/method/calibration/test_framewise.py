"""Framewise calibration against a plain module that keeps every frame it has seen."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edge_tta.config import MethodConfig, make_config
from edge_tta.method.folding import observes_folded
from tests.method.plain import batches, step_of
from tests.networks import network

SMOOTHING, PRIOR, STRENGTH = 0.9, 2.0, 0.7


class Keeping(nn.Module):
    """Weighs the moments of all frames so far, and of the source, which counts as one more."""

    def __init__(self, layer: _BatchNorm, alpha: float) -> None:
        super().__init__()
        self.layer, self.alpha = layer, alpha
        self.frames: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        axes, layer = [0, *range(2, x.ndim)], self.layer
        assert layer.running_mean is not None
        assert layer.running_var is not None
        source = layer.running_mean, layer.running_var
        far = (source[1] + layer.eps).sqrt() * 6  # no frame counts for more
        mean = torch.minimum(torch.maximum(x.mean(axes), source[0] - far), source[0] + far)
        frame = mean, torch.minimum(x.var(axes, unbiased=False), far.square())
        before = [source, *self.frames]
        self.frames.append(frame)
        used = before if self.alpha == 0 else [source, *self.frames]
        means, variances = (torch.stack([f[i] for f in used]) for i in (0, 1))
        weights = _weights(len(used) - 1).to(means)
        stream = weights @ means
        between = weights @ (means - stream).square()
        within = weights @ variances
        left = within + (1 - self.alpha) ** 2 * between
        mean = stream if self.alpha == 0 else stream + self.alpha * (frame[0] - stream)
        mean = source[0] + STRENGTH * (mean - source[0])
        base = source[1] + layer.eps
        variance = base ** (1 - STRENGTH) * (left + layer.eps) ** STRENGTH - layer.eps
        return functional.batch_norm(
            x, mean, variance, layer.weight, layer.bias, False, 0.0, layer.eps
        )


def _weights(frames: int) -> Tensor:
    """Weights of the source and of so many frames, by Eq. 5 with a short start."""
    weights = [1.0]
    for t in range(frames):
        old = min(SMOOTHING, 1 - 1 / (t + PRIOR + 1))
        weights = [w * old for w in weights] + [1 - old]
    return torch.tensor(weights, dtype=torch.float64)


def _config(alpha: float, coarsest: float = 1e9) -> MethodConfig:
    return make_config(
        "nanoadapt:norm",
        calibration="framewise",
        smoothing=SMOOTHING,
        prior_frames=PRIOR,
        alpha=alpha,
        strength=STRENGTH,
        coarsest=coarsest,
        diversity=0.0,
    )


@pytest.mark.parametrize("net", ["plain", "residual", "pre-activation"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_statistics_are_those_of_all_frames_weighed(net: str, alpha: float) -> None:
    model = network(net).double()
    plain = copy.deepcopy(model).eval().requires_grad_(False)
    for name, layer in list(plain.named_children()):
        if isinstance(layer, _BatchNorm):
            setattr(plain, name, Keeping(layer, alpha))
    step = step_of(model, _config(alpha))
    state = step.initial_state()
    for images in batches(14, 1):
        outputs, state = step.observe(images, state)
        torch.testing.assert_close(outputs, plain(images), rtol=1e-5, atol=1e-6)


def test_layers_of_a_coarse_map_stay_as_trained() -> None:
    step = step_of(network("plain").double(), _config(0.0, coarsest=1))
    strides = {site.layer.name: site.stride for site in step.program.sites}
    assert len(set(strides.values())) > 1, "a network whose layers differ"
    state = step.initial_state()
    for images in batches(6, 1):
        _, state = step.observe(images, state)
    for layer in step.program.layers:
        mean = step.statistics(state)[layer.name].mean
        assert torch.equal(mean, layer.mean) == (strides[layer.name] > 1), layer.name
        assert (layer.name in step.calibration.unused) == (strides[layer.name] > 1)
    followed = state["calib.offset"].split([layer.channels for layer in step.program.layers])
    for layer, offset in zip(step.program.layers, followed, strict=True):
        assert bool(offset.any()) == (strides[layer.name] == 1), "nor is the stream kept"


@pytest.mark.parametrize(("alpha", "folded"), [(0.0, True), (0.5, False)])
def test_without_the_frames_own_part_a_folded_network_observes(alpha: float, folded: bool) -> None:
    step = step_of(network("plain").double(), _config(alpha))
    assert observes_folded(step) == folded


def test_the_same_frame_for_ever_leaves_nothing_between_frames() -> None:
    """Its own variance is all that is left, whatever the source's mean was."""
    step = step_of(network("plain").double(), _config(0.5))
    state = step.initial_state()
    (images,) = batches(1, 1)
    for _ in range(300):
        _, state = step.observe(images, state)
    first = step.program.sites[0].layer
    assert float(state["calib.between"][: first.channels].abs().max()) < 1e-6
