"""SAR against plain loops written from its paper (Eq. 2-4 and its model recovery)."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from edge_tta.adapter import Adapter
from edge_tta.config import make_config
from edge_tta.method.hosts import sar
from edge_tta.method.hosts.sar import ascent
from edge_tta.method.step import Step
from tests.method.plain import (
    affine,
    assert_parameters,
    batches,
    by_batch,
    entropy_of,
    spread_out,
    step_of,
)
from tests.networks import network

LEARNING_RATE = 0.02


@pytest.fixture
def constants(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets sar's constants: entropy's share of ln K, radius of the ascent, limit of recovery."""

    def to(
        radius: float = sar.ASCENT_RADIUS,
        recovery: float = sar.RECOVERY_BELOW_NATS,
        entropy: float = sar.ENTROPY_MARGIN,
    ) -> None:
        monkeypatch.setattr(sar, "ASCENT_RADIUS", radius)
        monkeypatch.setattr(sar, "RECOVERY_BELOW_NATS", recovery)
        monkeypatch.setattr(sar, "ENTROPY_MARGIN", entropy)

    return to


def test_the_constants_are_the_published_ones() -> None:
    assert (sar.ENTROPY_MARGIN, sar.ASCENT_RADIUS, sar.RECOVERY_BELOW_NATS) == (0.4, 0.05, 0.2)


LAST_STAGE = {"residual": ("bn1", "bn2", "bn3", "bn4"), "plain": ("bn2", "bn3")}


class PlainSar:
    """Loops over images; parameters moved by hand to theta + e and back; torch.optim.SGD."""

    def __init__(self, model: nn.Module, net: str, e0: float, radius: float, low: float) -> None:
        self.model, self.e0, self.radius, self.low = by_batch(model), e0, radius, low
        self.trained = affine(self.model, LAST_STAGE[net])
        self.source = {n: p.detach().clone() for n, p in self.trained.items()}
        self.mean: float | None = None
        self.steps = self.first_only = self.none = self.recoveries = 0
        self._new_optimizer()

    def _new_optimizer(self) -> None:
        self.optimizer = torch.optim.SGD(self.trained.values(), lr=LEARNING_RATE, momentum=0.9)

    def __call__(self, images: Tensor) -> Tensor:
        logits = self.model(images)
        entropies = [entropy_of(row) for row in logits]
        chosen = [i for i, h in enumerate(entropies) if h < self.e0]
        if not chosen:
            self.none += 1
            return logits.detach()
        loss = torch.stack([entropies[i] for i in chosen]).mean()
        gradients = torch.autograd.grad(loss, list(self.trained.values()))
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        start = {name: value.detach().clone() for name, value in self.trained.items()}
        with torch.no_grad():
            for value, gradient in zip(self.trained.values(), gradients, strict=True):
                value += self.radius * gradient / norm
        rows = self.model(images)
        again = [h for i in chosen if (h := entropy_of(rows[i])) < self.e0]
        self.first_only += len(chosen) - len(again)
        if again:
            loss = torch.stack(again).mean()
            self.optimizer.zero_grad()
            loss.backward()
        with torch.no_grad():
            for name, value in self.trained.items():
                value.copy_(start[name])
        if again:
            self.optimizer.step()
            self.steps += 1
            new = float(loss.detach())
            self.mean = new if self.mean is None else 0.9 * self.mean + 0.1 * new
            if self.mean < self.low:
                with torch.no_grad():
                    for name, value in self.trained.items():
                        value.copy_(self.source[name])
                self._new_optimizer()
                self.mean = None
                self.recoveries += 1
        return logits.detach()


@pytest.mark.parametrize(
    ("net", "n", "spread", "radius"),
    [("residual", 1, 2.0, 0.01), ("residual", 6, 3.0, 0.5), ("plain", 6, 3.0, 0.5)],
)
@pytest.mark.parametrize("low", [0.0, 0.3])
def test_sar_equals_plain_loops_over_30_batches(
    net: str, n: int, spread: float, radius: float, low: float, constants: Callable[..., None]
) -> None:
    constants(radius, low)
    model = spread_out(net, spread, n)
    plain = PlainSar(model, net, 0.4 * math.log(5), radius, low)
    step = step_of(model, make_config("sar", learning_rate=LEARNING_RATE))
    state = step.initial_state()
    for images in batches(30, n):
        wanted = plain(images)
        logits, state = step.learn(images, state)
        torch.testing.assert_close(logits, wanted, rtol=1e-6, atol=1e-8)
        assert float(state["host.loss_mean"]) == pytest.approx(plain.mean or 0.0, rel=1e-7)
    assert_parameters(step, state, plain.trained)
    assert plain.steps > 3
    assert (plain.recoveries > 0) == (low > 0)
    if n > 1:
        assert plain.first_only > 0


def test_the_point_of_ascent_is_at_the_radius_in_the_direction_of_the_gradient() -> None:
    gradient = torch.randn(3, 40, dtype=torch.float64)
    step = ascent(gradient)
    assert step.norm(dim=-1).tolist() == pytest.approx([0.05] * 3)
    cosine = (step * gradient).sum(-1) / (0.05 * gradient.norm(dim=-1))
    assert cosine.tolist() == pytest.approx([1.0] * 3)


def test_there_is_no_ascent_where_the_gradient_is_zero_or_not_finite() -> None:
    gradient = torch.zeros(3, 4)
    gradient[1, 2], gradient[2, 0] = math.inf, math.nan
    assert not ascent(gradient).any()


def test_a_radius_of_zero_is_filtered_entropy_minimisation(
    constants: Callable[..., None],
) -> None:
    constants(0.0, 0.0)
    model = spread_out("residual", 3.0, 6)
    plain = PlainSar(model, "residual", 0.4 * math.log(5), 0.0, 0.0)
    step = step_of(model, make_config("sar", learning_rate=LEARNING_RATE))
    state = step.initial_state()
    for images in batches(15, 6):
        plain(images)
        _, state = step.learn(images, state)
    assert plain.first_only == 0
    assert_parameters(step, state, plain.trained)


def test_statistics_are_updated_once_a_step(constants: Callable[..., None]) -> None:
    """Those of the first pass: a step that only observes ends in the same ones."""
    constants(radius=1.0, entropy=1.0)
    config = make_config("nanoadapt:sar", preset="paper", taylor="none", accumulation=2)
    step = step_of(spread_out("residual", 1.0, 4), config)
    state = step.initial_state()
    for images in batches(4, 4):
        _, learned = step.learn(images, state, views=4)
        _, observed = step.observe(images, state, views=4)
        for name in ("calib.offset", "calib.variance", "steps"):
            torch.testing.assert_close(learned[name], observed[name], rtol=1e-9, atol=1e-12)
        state = learned
    assert int(state["opt.applied"]) == 2


def test_a_batch_of_which_nothing_counts_changes_no_parameter_nor_the_optimizer(
    constants: Callable[..., None],
) -> None:
    constants(recovery=0.0)
    step = step_of(spread_out("residual", 3.0, 6), make_config("sar"))
    state = step.initial_state()
    for images in batches(10, 6):
        _, state = step.learn(images, state)
    assert bool(state["opt.first_moment"].any())
    constants(recovery=0.0, entropy=0.0)
    _, new = step.learn(images, state)
    moments = ("opt.first_moment", "opt.second_moment", "opt.gradient")
    for name in ("opt.parameters", *moments, "opt.applied", "host.loss_mean"):
        assert torch.equal(new[name], state[name]), name


@pytest.mark.parametrize("taylor", ["none", "affine"])
def test_a_recovery_waits_for_the_end_of_the_window(
    taylor: str, constants: Callable[..., None]
) -> None:
    """So that whether parameters have moved is known without a look at the state."""
    config = make_config("nanoadapt:sar", preset="paper", accumulation=4, taylor=taylor)
    step = step_of(spread_out("residual", 1.0, 4), config)
    # From parameters that a first window has moved.
    constants(recovery=0.0, entropy=1.0)
    state = step.initial_state()
    for images in batches(4, 4):
        _, state = step.learn(images, state, views=4)
    start = step.source_parameters()
    moved = state["opt.parameters"]
    assert not torch.equal(moved, start)
    constants(recovery=100.0, entropy=1.0)
    for count, images in enumerate(batches(4, 4, seed=1), 1):
        _, state = step.learn(images, state, views=4)
        at_end = count == 4
        assert torch.equal(state["opt.parameters"], start if at_end else moved)
        assert bool(state["opt.first_moment"].any()) != at_end
        assert (float(state["host.loss_mean"]) == 0) == at_end
    assert int(state["opt.applied"]) == 0
    if taylor != "none":
        torch.testing.assert_close(state["taylor.change"], start - moved)


@pytest.mark.parametrize("net", LAST_STAGE)
def test_the_last_stage_is_frozen(net: str) -> None:
    wanted = set(affine(network(net), LAST_STAGE[net]))
    assert set(step_of(network(net), make_config("sar")).parameters.names) == wanted
    assert set(step_of(network(net), make_config("nanoadapt:sar")).parameters.names) == wanted
    assert set(step_of(network(net), make_config("eata")).parameters.names) > wanted


def test_a_network_of_one_stage_trains_whole() -> None:
    for net in ("used-twice", "one-dimensional", "pre-activation"):
        step = step_of(network(net), make_config("sar"))
        everything = step_of(network(net), make_config("tent"))
        assert isinstance(step, Step)
        if net != "one-dimensional":
            assert step.parameters == everything.parameters, net
        else:
            assert set(step.parameters.names) == {"bn1.weight", "bn1.bias"}


def test_the_trained_parameters_do_not_depend_on_the_image_s_size() -> None:
    adapting = Adapter(network("residual"), "sar")
    layouts = set()
    for size in (8, 1, 32, 7):
        adapting.prepare((3, size, size))
        layouts.add(adapting.engine.step.parameters)
    assert len(layouts) == 1
