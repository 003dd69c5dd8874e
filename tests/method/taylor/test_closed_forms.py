"""The closed-form Jacobians against autograd in float64 (NanoAdapt Eq. 7-8)."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, fx, nn

from edge_tta.method.taylor import closed_forms
from edge_tta.network.program import LinearMap

CASES = [
    # axes, stride, padding, dilation, groups, kernel, N
    *((2, s, p, d, g, 3, n) for s, p, d, g, n in itertools.product(
        (1, 2), (0, 1, 2), (1, 2), (1, 2, 4), (1, 3))),
    (2, 1, 0, 1, 1, 1, 1),
    (2, 2, 0, 1, 4, 1, 2),
    (2, 3, 2, 1, 2, 5, 1),
    (1, 1, 1, 1, 1, 3, 1),
    (1, 2, 2, 2, 2, 3, 3),
    (3, 2, 1, 1, 2, 3, 2),
    (0, 1, 0, 1, 1, 1, 4),
]  # fmt: skip


def _case(
    axes: int, stride: int, padding: int, dilation: int, groups: int, kernel: int, n: int
) -> tuple[LinearMap, Tensor, Tensor, Tensor, Tensor]:
    """The map, a (N, 4, ...), weight (8, 4 / groups, ...), bias (8,) and the centre (8,)."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    linear = LinearMap(
        "w", "b", (stride,) * axes, (padding,) * axes, (dilation,) * axes, groups if axes else 1
    )
    spatial = (7, 6, 5)[:axes]
    weight = draw(8, 4 // linear.groups, *(kernel,) * axes)
    return linear, draw(n, 4, *spatial), weight, draw(8), draw(8)


def _statistics(z: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    z = z.transpose(0, 1).reshape(z.shape[1], -1)
    return z.mean(1), ((z - centre[:, None]) ** 2).mean(1)


def _centred(z: Tensor, centre: Tensor) -> Tensor:
    return z - centre.view((1, -1) + (1,) * (z.ndim - 2))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weight_jacobian_equals_autograd(case: tuple[int, ...]) -> None:
    linear, a, weight, bias, centre = _case(*case)
    z = closed_forms.apply_linear(a, weight, bias, linear)
    mean, square = torch.autograd.functional.jacobian(
        lambda w: _statistics(closed_forms.apply_linear(a, w, bias, linear), centre), weight
    )
    jacobian = closed_forms.weight_jacobian(_centred(z, centre), a, tuple(weight.shape), linear)
    per_group = 8 // linear.groups
    for o in range(8):
        rows = slice(o // per_group * weight.shape[1], (o // per_group + 1) * weight.shape[1])
        torch.testing.assert_close(jacobian.mean[rows], mean[o, o])
        torch.testing.assert_close(jacobian.square[o], square[o, o])
    # No output channel depends on another's weights.
    assert mean.sum() == pytest.approx(float(sum(mean[o, o].sum() for o in range(8))))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_channel_jacobian_equals_autograd_over_gamma_and_beta(case: tuple[int, ...]) -> None:
    linear, x, weight, bias, centre = _case(*case)
    gamma = torch.linspace(0.5, 2, 4, dtype=torch.float64)
    beta = torch.linspace(-1, 1, 4, dtype=torch.float64)
    shape = (1, -1) + (1,) * (x.ndim - 2)

    def forward(g: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        a = nn.functional.silu(x * g.view(shape) + b.view(shape))
        return _statistics(closed_forms.apply_linear(a, weight, bias, linear), centre)

    expected = torch.autograd.functional.jacobian(forward, (gamma, beta))
    y = x * gamma.view(shape) + beta.view(shape)
    z = closed_forms.apply_linear(nn.functional.silu(y), weight, bias, linear)
    path = fx.symbolic_trace(nn.SiLU())
    for which, tangent in enumerate((x, torch.ones_like(x))):
        field = closed_forms.field_of(path, y, (), tangent)
        jacobian = closed_forms.channel_jacobian(_centred(z, centre), field, weight, linear)
        change = torch.linspace(-0.3, 0.4, 4, dtype=torch.float64)
        moved = closed_forms.channel_change(jacobian, change, linear.groups)
        torch.testing.assert_close(moved.mean, expected[0][which] @ change)
        torch.testing.assert_close(moved.square, expected[1][which] @ change)


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_directional_derivative_equals_the_jacobian_times_the_change(
    case: tuple[int, ...],
) -> None:
    linear, a, weight, bias, centre = _case(*case)
    centred = _centred(closed_forms.apply_linear(a, weight, bias, linear), centre)
    change = torch.randn(weight.shape, dtype=torch.float64)
    jacobian = closed_forms.weight_jacobian(centred, a, tuple(weight.shape), linear)
    by_jacobian = closed_forms.weight_change(jacobian, change, linear.groups)
    dz = closed_forms.apply_linear(a, change, None, linear)
    by_direction = closed_forms.direction_change(centred, dz)
    torch.testing.assert_close(by_direction.mean, by_jacobian.mean)
    torch.testing.assert_close(by_direction.square, by_jacobian.square)


def test_first_order_change_predicts_the_statistics_to_second_order() -> None:
    linear, a, weight, bias, centre = _case(2, 2, 1, 1, 2, 3, 3)
    z = closed_forms.apply_linear(a, weight, bias, linear)
    before = _statistics(z, centre)
    jacobian = closed_forms.weight_jacobian(_centred(z, centre), a, tuple(weight.shape), linear)
    errors = []
    for size in (1e-2, 1e-3):
        change = size * torch.ones_like(weight)
        after = _statistics(closed_forms.apply_linear(a, weight + change, bias, linear), centre)
        predicted = closed_forms.weight_change(jacobian, change, linear.groups)
        errors.append(float((after[1] - before[1] - predicted.square).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)
