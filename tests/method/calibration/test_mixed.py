"""alpha-BN against a plain module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edge_tta.config import make_config
from edge_tta.method.calibration.mixed import mix
from tests.method.plain import batches, step_of
from tests.networks import network


class Mixing(nn.Module):
    """(1 - a) source + a batch, of the mean and of the variance."""

    def __init__(self, layer: _BatchNorm, alpha: float) -> None:
        super().__init__()
        self.layer, self.alpha = layer, alpha

    def forward(self, x: Tensor) -> Tensor:
        axes = [0, *range(2, x.ndim)]
        a, layer = self.alpha, self.layer
        assert layer.running_mean is not None
        assert layer.running_var is not None
        mean = (1 - a) * layer.running_mean + a * x.mean(axes)
        variance = (1 - a) * layer.running_var + a * x.var(axes, unbiased=False)
        return functional.batch_norm(
            x, mean, variance, layer.weight, layer.bias, False, 0.0, layer.eps
        )


@pytest.mark.parametrize("net", ["plain", "residual", "used-twice", "pre-activation"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("n", [1, 5])
def test_alpha_bn_equals_a_plain_module_and_remembers_nothing(
    net: str, alpha: float, n: int
) -> None:
    model = network(net).double()
    plain = copy.deepcopy(model).eval().requires_grad_(False)
    for name, layer in list(plain.named_children()):
        if isinstance(layer, _BatchNorm):
            setattr(plain, name, Mixing(layer, alpha))
    step = step_of(model, make_config("alpha-bn", alpha=alpha))
    state = step.initial_state()
    for images in batches(4, n):
        fresh, _ = step.learn(images, step.initial_state())
        logits, state = step.learn(images, state)
        torch.testing.assert_close(logits, plain(images), rtol=1e-9, atol=1e-10)
        assert torch.equal(logits, fresh)


def test_the_published_share_of_the_batch_is_a_tenth() -> None:
    assert make_config("alpha-bn").calibration.alpha == 0.1


def test_the_gap_of_the_means_adds_nothing_to_the_mixed_variance() -> None:
    """Unlike Eq. 5, whose variance is that of both together."""
    source, batch = (torch.zeros(1), torch.ones(1)), (torch.full((1,), 100.0), torch.ones(1))
    offset, variance = mix(source, batch, 0.25)
    assert (float(offset), float(variance)) == (25.0, 1.0)
