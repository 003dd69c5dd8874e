"""The two halves of a step: what a folded network multiplies and adds, and what it measures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edge_tta.engines.torch import engine_of
from edge_tta.method import moments
from edge_tta.method.folding import Affine, by_site, calibrated, observes_folded
from edge_tta.method.forward import Fixed
from edge_tta.network.kernels import Kernels
from edge_tta.network.program import Statistics
from tests.adapters import adapter, stream
from tests.networks import NETWORKS


class _Measuring(Fixed):
    """Notes each site's moments and what BatchNorm makes of its input."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sites: dict[int, tuple[Tensor, Statistics, moments.Moments]] = {}

    def statistics(self, site: Any, z: Tensor, watched: Any, kernels: Kernels) -> Statistics:
        chosen = super().statistics(site, z, watched, kernels)
        sampled, weights = moments.sampled(z)
        frame = kernels.moments(sampled, site.layer.mean, weights)
        self.sites[site.index] = z, chosen, frame
        return chosen


@pytest.mark.parametrize("net", NETWORKS)
def test_both_halves_are_the_step(net: str) -> None:
    used = adapter("nanoadapt:tent/edge", net, learning_rate=0.05)
    images = stream(6, n=1, size=32)
    for image in images[:-1]:
        used(image)
    step, state = engine_of(used).step, used.state
    assert observes_folded(step)
    hook = _Measuring(step.program, step.values(state), step.calibration.statistics(state))
    outputs = step.program.run(images[-1], hook)
    measured = [hook.sites[site.index] for site in step.program.sites]
    frame = torch.cat([m[0] for *_, m in measured]), torch.cat([m[1] for *_, m in measured])
    expected, new = step.observe(images[-1], state)
    assert torch.equal(outputs, expected)
    for name, value in calibrated(step, outputs, frame, state).items():
        torch.testing.assert_close(value, new[name], msg=name)

    scale, offset, bias = (by_site(step, vector) for vector in Affine(step)(state))
    begin = 0
    for site, (z, chosen, _) in zip(step.program.sites, measured, strict=True):
        part = slice(begin, begin + site.layer.channels)
        begin = part.stop
        shape = (1, -1) + (1,) * (z.ndim - 2)
        u = z - site.layer.mean.view(shape)
        values = {**step.program.parameters, **step.values(state)}
        affine = (values.get(name) for name in (site.layer.weight, site.layer.bias))
        y = torch.nn.functional.batch_norm(z, *chosen, *affine, eps=site.layer.eps)
        a, b, c = (vector[part].view(shape) for vector in (scale, offset, bias))
        torch.testing.assert_close(a * (u - b) + c, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["norm", "tent", "nanoadapt:tent/paper"])
def test_a_layer_that_reads_the_frame_to_normalise_it_cannot_be_folded(case: str) -> None:
    used = adapter(case, "residual")
    used.prepare((3, 8, 8))
    assert not observes_folded(engine_of(used).step)
