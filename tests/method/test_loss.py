"""The loss of a batch: the host's, weighed by NanoAdapt, and the diversity term."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from edge_tta.config import make_config
from edge_tta.method.calibration import class_balance
from edge_tta.method.hosts import HostLoss, make_host
from edge_tta.method.loss import Loss, both, make_loss
from edge_tta.method.state import State
from edge_tta.method.step import Step
from tests.adapters import shared
from tests.method.calibration.slow_balance import SlowBalance

pytestmark = pytest.mark.usefixtures("reachable_margins")


class Answered:
    """The loss of a host within NanoAdapt on given logits, after a stream of mostly class 1."""

    def __init__(self, host: str = "tent", **options: Any) -> None:
        program = shared("used-twice").program((3, 8, 8))
        self.config = make_config("nanoadapt", host, **{"reliable_below": 0.0, **options})
        step = Step(program, self.config)
        self.host = make_host(host, self.config.loss)
        self.loss = make_loss(self.config.loss, step.calibration)
        frequency = torch.full((program.classes,), 0.1)
        frequency[1] = 1.1 - 0.1 * program.classes
        dispersion = torch.tensor(0.5)
        usual = torch.linspace(1, 3, program.classes)
        usual /= usual.sum()
        self.state: State = {
            **step.initial_state(),
            "calib.classes.frequency": frequency,
            "calib.classes.usual": usual,
            "calib.classes.dispersion": dispersion,
            "calib.classes.frames": torch.tensor(200),
        }
        generator = torch.Generator().manual_seed(2)
        self.logits = 1.5 * torch.randn((6, program.classes), generator=generator)
        slow = SlowBalance(self.config.calibration, program.classes)
        slow.frequency, slow.dispersion = frequency.tolist(), float(dispersion)
        slow.usual = usual.tolist()
        self.frequency = slow.shrunk(200, class_balance.PRIOR_FRAMES_IN_LOSS)
        assert self.frequency[1] > 0.4
        self.excess = slow.excess(200)

    def of_batch(self, logits: Tensor) -> tuple[Tensor, HostLoss]:
        """The loss of logits (n, K), (), and the host's answer."""
        answer = self.host.loss(logits, self.state)
        weights = self.loss.weights(logits, self.state)
        return self.loss.of_batch(logits, answer, weights), answer

    def by_image(self, logits: Tensor) -> Tensor:
        """The loss of each image, (n,), as that of a batch of one."""
        return torch.stack([self.of_batch(row[None])[0] for row in logits])

    def balance(self, p: Tensor) -> float:
        """Class-balance weight of a prediction, by loops."""
        expected = sum(a * f for a, f in zip(p.tolist(), self.frequency, strict=True))
        return min(1.0, 1 / (len(self.frequency) * expected))


def test_the_loss_is_weighted_entropy_plus_mean_excess_times_the_balance_weight() -> None:
    loss = Answered()
    losses = loss.by_image(loss.logits)
    for value, row in zip(losses, loss.logits, strict=True):
        p = row.softmax(0)
        entropy = -sum(x * math.log(x) for x in p.tolist())
        term = sum(x * e for x, e in zip(p.tolist(), loss.excess, strict=True))
        expected = loss.balance(p) * (min(1 / entropy, 1) * entropy + term)
        assert float(value) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"reliable_below": 0.8}, {"weighting": "mean"}])
def test_the_loss_of_a_batch_is_the_mean_of_its_images(options: dict[str, Any]) -> None:
    loss = Answered(**options)
    together, _ = loss.of_batch(loss.logits)
    torch.testing.assert_close(together, loss.by_image(loss.logits).mean())


@pytest.mark.parametrize("diversity", [0.5, 1.0])
def test_gradient_of_the_diversity_term_is_that_of_sum_p_excess(diversity: float) -> None:
    gradients = []
    for weight in (diversity, 0.0):
        loss = Answered(diversity=weight)
        logits = loss.logits.clone().requires_grad_()
        loss.by_image(logits).sum().backward()
        gradients.append(logits.grad)
    with_term, without = gradients
    assert with_term is not None
    assert without is not None
    logits = loss.logits.clone().requires_grad_()
    total = torch.zeros(())
    for row in logits:
        p = row.exp() / row.exp().sum()
        term = sum((p[k] * e for k, e in enumerate(loss.excess)), torch.zeros(()))
        # Weights are constants for the backward pass.
        total = total + diversity * loss.balance(p.detach()) * term
    total.backward()
    torch.testing.assert_close(with_term - without, logits.grad, rtol=1e-3, atol=1e-5)


def test_the_diversity_term_lowers_the_frequent_class() -> None:
    loss = Answered()
    logits = torch.zeros_like(loss.logits).requires_grad_()  # there an entropy has no gradient
    loss.by_image(logits).sum().backward()
    assert logits.grad is not None
    assert bool((logits.grad[:, 1] > 0).all())
    assert bool((logits.grad[:, [0, 2, 3]] < 0).all())


def test_images_that_the_host_leaves_out_have_no_diversity_term() -> None:
    loss = Answered("eata")
    logits = 2 * loss.logits
    logits[:2] = 0  # beyond the margin of the entropy
    logits.requires_grad_()
    total, answer = loss.of_batch(logits)
    assert answer.mask is not None
    assert answer.mask.tolist() == [False] * 2 + [True] * 4
    total.backward()
    assert logits.grad is not None
    assert bool((logits.grad[:2] == 0).all())
    assert bool((logits.grad[2:] != 0).any(-1).all())


def test_the_diversity_term_is_a_mean_over_the_images_that_count_as_the_hosts_loss_is() -> None:
    gradients = []
    for left_out in (0, 2):
        loss = Answered("eata")
        logits = torch.cat([torch.zeros(left_out, loss.logits.shape[1]), 2 * loss.logits[2:]])
        logits.requires_grad_()
        loss.of_batch(logits)[0].backward()
        assert logits.grad is not None
        gradients.append(logits.grad[left_out:])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("reliable", [0.6, 0.8, 0.98])
def test_images_that_are_not_reliable_have_no_loss_and_the_others_their_whole(
    reliable: float,
) -> None:
    loss, every = Answered(reliable_below=reliable), Answered()
    losses, whole = loss.by_image(loss.logits), every.by_image(loss.logits)
    kept = []
    for row in loss.logits.softmax(-1).tolist():
        entropy = -sum(x * math.log(x) for x in row)
        kept.append(entropy < reliable * math.log(len(row)))
    assert any(kept)
    assert not all(kept)
    torch.testing.assert_close(losses, torch.where(torch.tensor(kept), whole, 0.0))


@pytest.mark.parametrize("classes", [31, 32, 33, 1000])
def test_the_limit_of_reliable_images_rises_no_further_beyond_32_classes(classes: int) -> None:
    logits = torch.linspace(0, 12, 400)[:, None] * torch.eye(classes)[0]
    mask = Loss(False, 0.0, 0.4, None).weights(logits, {}).mask
    assert mask is not None
    limit = 0.4 * math.log(min(classes, 32))
    rows = [sum(-x * math.log(x) for x in row) for row in logits.double().softmax(-1).tolist()]
    assert mask.tolist() == [entropy < limit for entropy in rows]
    assert 0 < sum(mask.tolist()) < len(rows)


def test_a_stream_of_one_prediction_is_pushed_away_from_it_by_learning() -> None:
    moved = []
    for diversity in (0.0, 1.0):
        program = shared("used-twice").program((3, 8, 8))
        config = make_config(
            "nanoadapt", diversity=diversity, accumulation=1, learning_rate=1e-3, reliable_below=0.0
        )
        step = Step(program, config)
        state = step.initial_state()
        image = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
        label = int(step.learn(image, state)[0].argmax())
        for _ in range(60):
            logits, state = step.learn(image, state)
        assert float(state["calib.classes.frequency"][label]) > 1 / 4
        moved.append(float(logits.softmax(-1)[0, label]))
    assert moved[1] < moved[0]


def test_an_image_counts_where_it_does_for_both() -> None:
    a, b = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    assert both(None, None) is None
    for one, other in ((a, None), (None, a)):
        mask = both(one, other)
        assert mask is not None
        assert torch.equal(mask, a)
    mask = both(a, b)
    assert mask is not None
    assert mask.tolist() == [True, False, False]
