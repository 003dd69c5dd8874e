"""Running statistics: Eq. 5 exactly, safe in float32, never at or below zero."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tta.method import moments
from edge_tta.network.kernels import batch_moments


def _stream(offset: float, count: int = 60, std: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn((count, 1, 4, 6, 6), generator=generator, dtype=torch.float64) * std + offset


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9, 0.98, 1.0])
def test_blending_equals_eq5_on_raw_moments_in_float64(smoothing: float) -> None:
    source_mean = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    history = torch.zeros(4, dtype=torch.float64), torch.full((4,), 1.5, dtype=torch.float64)
    first, second = source_mean.clone(), history[1] + source_mean**2
    m = torch.tensor(smoothing, dtype=torch.float64)
    for z in _stream(0.7):
        history = moments.blend(history, batch_moments(z, source_mean), m)
        first = smoothing * first + (1 - smoothing) * z.mean((0, 2, 3))
        second = smoothing * second + (1 - smoothing) * (z**2).mean((0, 2, 3))
    torch.testing.assert_close(source_mean + history[0], first)
    torch.testing.assert_close(history[1], second - first**2)


@pytest.mark.parametrize("ratio", [1e2, 1e3, 1e4])
def test_float32_variance_is_right_when_the_mean_is_large(ratio: float) -> None:
    stream = _stream(ratio).float()
    centre = torch.full((4,), float(stream[0].mean()))
    history = torch.zeros(4), torch.ones(4)
    exact = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    m = torch.tensor(0.98)
    for z in stream:
        history = moments.blend(history, batch_moments(z, centre), m)
        exact = moments.blend(exact, batch_moments(z.double(), centre.double()), m.double())
    torch.testing.assert_close(history[1].double(), exact[1], rtol=2e-3, atol=0)


@given(variance=st.floats(0, 1e6), change=st.floats(-1e3, 1e3), square=st.floats(-1e6, 1e6))
@settings(max_examples=200, deadline=None)
def test_a_shifted_variance_stays_above_zero(variance: float, change: float, square: float) -> None:
    source = torch.tensor([2.0])
    _, shifted = moments.shift(
        (torch.tensor([0.1]), torch.tensor([variance])),
        torch.tensor([change]),
        torch.tensor([square]),
        source,
    )
    assert float(shifted) >= moments.VARIANCE_FLOOR * 2.0 * (1 - 1e-6)


def test_shift_is_exact_for_an_affine_change_of_the_input() -> None:
    z = _stream(0.3)[0]
    centre = torch.tensor([0.2, 0.1, -0.5, 0.0], dtype=torch.float64)
    history = batch_moments(z, centre)
    moved = batch_moments(z + 0.25, centre)
    # d E[(z - c)^2] is 2 E[z - c] 0.25 + 0.25^2, whose square is left out at first order: put in.
    change = torch.full((4,), 0.25, dtype=torch.float64)
    square = 2 * history[0] * 0.25 + 0.25**2
    shifted = moments.shift(history, change, square, torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(shifted[0], moved[0])
    torch.testing.assert_close(shifted[1], moved[1])


def test_a_short_start_averages_evenly_and_then_forgets_exponentially() -> None:
    at = [float(moments.smoothing_at(torch.tensor(t), 0.99, 9.0, "source")) for t in range(200)]
    assert at[0] == pytest.approx(0.9)  # the source counts as nine frames
    assert at[1] == pytest.approx(1 - 1 / 11)
    assert at[-1] == pytest.approx(0.99)
    assert at == sorted(at)


def test_first_batch_replaces_the_source_statistics_when_asked() -> None:
    at = [float(moments.smoothing_at(torch.tensor(t), 0.9, 0, "first")) for t in range(2)]
    assert at == [0.0, pytest.approx(0.9)]


@pytest.mark.parametrize("side", [1, 2, 7, 14, 28, 32, 56, 112, 160, 224])
def test_sampled_rows_are_evenly_spaced_from_edge_to_edge_and_enough(side: int) -> None:
    rows = moments.sampled(torch.arange(side).view(1, 1, side))[0].flatten()
    assert (rows[0], rows[-1]) == (0, side - 1)
    assert len(set(rows.diff().tolist())) <= 1
    assert len(rows) >= min(side, moments.LEAST_ROWS)


def test_edges_that_cancel_in_the_whole_map_cancel_in_the_sample() -> None:
    z = torch.zeros((1, 1, 56, 56))
    z[..., 0, :], z[..., -1, :] = 1.0, -1.0
    sample, _ = moments.sampled(z)
    assert len(sample[0, 0]) < 56
    assert sample.mean() == z.mean() == 0


@pytest.mark.parametrize("sides", [(112, 112), (56,), (28, 32), (1, 112), (3, 56), (2, 28, 56)])
def test_edges_count_in_the_sample_as_in_the_whole_map(sides: tuple[int, ...]) -> None:
    # Maps that know only whether a position is at an edge: the sample says all of them.
    z = torch.ones((2, 3, *(1 for _ in sides)), dtype=torch.float64)
    for axis, side in enumerate(sides, 2):
        rows = torch.rand((2, 3, side), dtype=torch.float64)
        rows[..., 1:-1] = torch.rand((2, 3, 1), dtype=torch.float64)
        z = z * rows.view(2, 3, *(side if other == axis else 1 for other in range(2, z.ndim)))
    sample, weights = moments.sampled(z)
    assert weights is not None
    assert weights.shape == sample.shape[2:]
    assert weights.sum() == pytest.approx(1)
    centre = torch.rand(3, dtype=torch.float64)
    of_sample = batch_moments(sample, centre, weights)
    torch.testing.assert_close(of_sample, batch_moments(z, centre))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_weights_are_as_exact_as_the_moments(dtype: torch.dtype) -> None:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        _, weights = moments.sampled(torch.zeros((1, 1, 112, 112), dtype=dtype))
    finally:
        torch.set_default_dtype(default)
    assert weights is not None
    assert weights.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("sides", [(32, 32), (7, 14), (1,), (2, 2), ()])
def test_where_all_is_measured_all_counts_alike(sides: tuple[int, ...]) -> None:
    z = torch.rand((1, 1, *sides))
    sample, weights = moments.sampled(z)
    assert sample is z
    assert weights is None
