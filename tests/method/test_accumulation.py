"""Entropy-weighted gradient accumulation (Eq. 9)."""

from __future__ import annotations

import math

import pytest
import torch

from edge_tta.method import accumulation


@pytest.mark.parametrize("steps", [2, 4, 16, 64])
def test_position_weights_equal_the_published_ramp(steps: int) -> None:
    for i in range(1, steps + 1):
        r = (math.log(steps) + math.log(i)) / (2 * math.log(steps))
        weight = accumulation.position_weight(torch.tensor(i), steps)
        assert float(weight) == pytest.approx(r / steps, rel=1e-6)
    assert float(accumulation.position_weight(torch.tensor(steps), steps)) == pytest.approx(
        1 / steps
    )


def test_one_step_of_accumulation_has_weight_one() -> None:
    assert float(accumulation.position_weight(torch.tensor(1), 1)) == 1.0


def test_entropy_is_that_of_the_softmax() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]])
    assert accumulation.entropy(logits).tolist() == pytest.approx([math.log(4), 0.0], abs=1e-6)


def test_entropy_weight_is_one_below_one_nat_and_its_inverse_above() -> None:
    sure, unsure = torch.tensor([[9.0, 0, 0]]), torch.zeros(1, 10)
    assert float(accumulation.entropy_weight(sure)) == 1.0
    assert float(accumulation.entropy_weight(unsure)) == pytest.approx(1 / math.log(10))


def test_entropy_weight_is_a_constant_for_the_gradient() -> None:
    logits = torch.zeros(1, 10, requires_grad=True)
    assert not accumulation.entropy_weight(logits).requires_grad
