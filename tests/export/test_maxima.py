"""Max pools in front of BatchNorm and ReLU give what they give behind, and the same gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from export.graph.convert import convert
from export.graph.passes import improve
from export.graph.trace import Traced
from export.graph.weights import WeightFile

POOLS = [(3, 2, 1), (2, 2, 0), (3, 1, 1)]


def _values(shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """z, gamma of both signs, beta, mean, variance."""
    generator = torch.Generator().manual_seed(1)
    channels = shape[1]
    z, *rest = (torch.randn(size, generator=generator) for size in (shape, channels, channels))
    return (z, *rest, 0.3 * torch.randn(channels, generator=generator), torch.rand(channels) + 0.5)


def _step(pool: tuple[int, int, int], *, inner: bool) -> Callable[..., tuple[Tensor, ...]]:
    """Output and gradients by gamma, beta and, where what is in front trains, z."""

    def step(z: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        gamma, beta, mean, variance = values
        asked = [gamma.detach().requires_grad_(), beta.detach().requires_grad_()]
        z = z.detach().requires_grad_(inner)
        with torch.enable_grad():
            y = functional.batch_norm(z, mean, variance, *asked, training=False)
            out = functional.max_pool2d(functional.relu(y), *pool)
            loss = (out * torch.linspace(-1, 2, out.shape[-1])).square().sum()
            grads = torch.autograd.grad(loss, [*asked, z] if inner else asked)
        return (out.detach(), *grads)

    return step


def _pool_is_first(module: fx.GraphModule) -> bool:
    aten = torch.ops.aten
    targets = [node.target for node in module.graph.nodes]
    pool = targets.index(aten.max_pool2d_with_indices.default)
    return pool < targets.index(aten.native_batch_norm.default)


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("pool", POOLS)
def test_pools_move_and_nothing_else_changes(pool: tuple[int, int, int], inner: bool) -> None:
    values = _values((2, 6, 9, 10))
    step = _step(pool, inner=inner)
    module = make_fx(step)(*values)
    improve(module)
    assert _pool_is_first(module)
    for moved, wanted in zip(module(*values), step(*values), strict=True):
        torch.testing.assert_close(moved, wanted, rtol=1e-4, atol=1e-5)

    names = ("z", "gamma", "beta", "mean", "variance")
    outputs = ("out", "by_gamma", "by_beta", "by_z")[: 3 + inner]
    model = convert(Traced(module, names, outputs), WeightFile(None), "test")
    (node,) = (node for node in model.graph.node if node.op_type == "MaxPool")
    assert len(node.output) == 1 + inner  # onnxruntime is not asked where the maxima stood
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = {name: value.numpy() for name, value in zip(names, values, strict=True)}
    for found, wanted in zip(session.run(None, given), step(*values), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_a_zero_weight_is_no_harm() -> None:
    z, gamma, beta, *statistics = _values((1, 4, 8, 8))
    gamma[1] = 0.0
    beta[1] = 0.5
    module = make_fx(_step((3, 2, 1), inner=False))(z, gamma, beta, *statistics)
    improve(module)
    moved = module(z, gamma, beta, *statistics)
    wanted = _step((3, 2, 1), inner=False)(z, gamma, beta, *statistics)
    torch.testing.assert_close(moved[0], wanted[0])
    torch.testing.assert_close(moved[2], wanted[2])
    others = [0, 2, 3]
    torch.testing.assert_close(moved[1][others], wanted[1][others])
    assert bool(torch.isfinite(moved[1]).all())


def test_a_batch_norm_of_constants_stays() -> None:
    z, *rest = _values((1, 4, 8, 8))

    def forward(z: Tensor) -> Tensor:
        gamma, beta, mean, variance = rest
        y = functional.batch_norm(z, mean, variance, gamma, beta, training=False)
        return functional.max_pool2d(functional.relu(y), 2)

    module = make_fx(forward)(z)
    improve(module)
    assert not _pool_is_first(module)


def test_what_others_read_stays() -> None:
    values = _values((1, 4, 8, 8))

    def forward(z: Tensor, *values: Tensor) -> Tensor:
        gamma, beta, mean, variance = values
        y = functional.batch_norm(z, mean, variance, gamma, beta, training=False).relu()
        return functional.max_pool2d(y, 3, 1, 1) + y

    module = make_fx(forward)(*values)
    improve(module)
    assert not _pool_is_first(module)
    torch.testing.assert_close(module(*values), forward(*values))
