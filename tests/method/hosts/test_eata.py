"""EATA against plain loops written from its paper (Eq. 2-9)."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.adapter import Adapter
from edge_tta.config import make_config
from edge_tta.errors import ConfigError
from edge_tta.method.fisher import fisher_diagonal
from edge_tta.method.hosts import eata
from edge_tta.method.hosts.eata import similarity_margin
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

LEARNING_RATE = 0.01


@pytest.fixture
def margins(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Sets the similarity margin, and the entropy's share of ln K, which are eata's constants."""

    def to(similarity: float, entropy: float = eata.ENTROPY_MARGIN) -> None:
        monkeypatch.setattr(eata, "similarity_margin", lambda classes: similarity)
        monkeypatch.setattr(eata, "ENTROPY_MARGIN", entropy)

    return to


def test_the_published_share_of_the_entropy_is_four_tenths() -> None:
    assert eata.ENTROPY_MARGIN == 0.4


# What a batch of which nothing counts leaves as it is.
KEPT = (
    "opt.parameters",
    "opt.first_moment",
    "opt.second_moment",
    "opt.gradient",
    "opt.applied",
    "host.class_mean",
)


class PlainEata:
    """Loops over images; torch.optim.SGD; counts what each filter left out."""

    def __init__(self, model: nn.Module, d: float, e0: float, **fisher: Any) -> None:
        self.model, self.d, self.e0 = by_batch(model), d, e0
        self.trained = affine(self.model)
        self.optimizer = torch.optim.SGD(self.trained.values(), lr=LEARNING_RATE, momentum=0.9)
        self.source = {n: p.detach().clone() for n, p in self.trained.items()}
        self.beta, self.fisher = fisher.get("beta", 0.0), fisher.get("diagonal", {})
        self.mean: Tensor | None = None
        self.unsure = self.similar = self.steps = 0

    def __call__(self, images: Tensor) -> Tensor:
        logits = self.model(images)
        losses, kept = [], []
        for row in logits:
            p, h = row.detach().softmax(0), entropy_of(row)
            if h >= self.e0:
                self.unsure += 1
                continue
            if self.mean is not None:
                cosine = (p @ self.mean) / (p.norm() * self.mean.norm())
                if abs(cosine) >= self.d:
                    self.similar += 1
                    continue
            losses.append(math.exp(self.e0 - float(h.detach())) * h)
            kept.append(p)
        if kept:
            loss = torch.stack(losses).mean()
            for name, value in self.fisher.items():
                gap = self.trained[name] - self.source[name]
                loss = loss + self.beta * (value * gap**2).sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.steps += 1
            new = torch.stack(kept).mean(0)
            self.mean = new if self.mean is None else 0.9 * self.mean + 0.1 * new
        return logits.detach()


@pytest.mark.parametrize(
    ("net", "n", "spread", "d"),
    [("residual", 1, 1.5, 0.999), ("residual", 6, 3.0, 0.9), ("plain", 6, 3.0, 0.7)],
)
def test_eata_equals_plain_loops_over_30_batches(
    net: str, n: int, spread: float, d: float, margins: Callable[..., None]
) -> None:
    margins(d)
    model, e0 = spread_out(net, spread, n), 0.4 * math.log(5)
    plain = PlainEata(model, d, e0)
    step = step_of(model, make_config("eata", learning_rate=LEARNING_RATE))
    state = step.initial_state()
    for images in batches(30, n):
        wanted = plain(images)
        logits, state = step.learn(images, state)
        torch.testing.assert_close(logits, wanted, rtol=1e-6, atol=1e-8)
        assert int(state["opt.applied"]) == plain.steps
    assert min(plain.unsure, plain.similar, plain.steps) >= 2
    assert plain.mean is not None
    torch.testing.assert_close(state["host.class_mean"], plain.mean, rtol=1e-7, atol=1e-9)
    assert_parameters(step, state, plain.trained)


def test_a_batch_of_which_nothing_counts_changes_no_parameter_nor_the_optimizer(
    margins: Callable[..., None],
) -> None:
    margins(0.9)
    step = step_of(spread_out("residual", 3.0, 6), make_config("eata"))
    *before, first, second = batches(12, 6)
    state = step.initial_state()
    for images in before:
        _, state = step.learn(images, state)
    assert int(state["opt.applied"]) > 1
    assert bool(state["opt.first_moment"].any())
    margins(0.9, 0.0)
    for images in (first, second):
        _, new = step.learn(images, state)
        for name in KEPT:
            assert torch.equal(new[name], state[name]), name
        assert int(new["opt.updates"]) == int(state["opt.updates"]) + 1
        state = new


@pytest.mark.parametrize(
    ("classes", "d"), [(2, 0.4), (10, 0.4), (100, 0.1), (1000, 0.05), (20_000, 0.05)]
)
def test_similarity_margin_is_the_published_one(classes: int, d: float) -> None:
    assert similarity_margin(classes) == pytest.approx(d)


def test_similarity_margin_never_rises_with_the_number_of_classes() -> None:
    margins = [similarity_margin(classes) for classes in range(2, 3000)]
    assert all(a >= b for a, b in itertools.pairwise(margins))


def test_similarity_margin_is_that_of_the_network_s_classes(
    margins: Callable[..., None],
) -> None:
    model, means = spread_out("residual", 3.0, 6), []
    for margin in (None, similarity_margin(5), 0.95):
        if margin is not None:
            margins(margin)
        step = step_of(model, make_config("eata"))
        state = step.initial_state()
        for images in batches(10, 6):
            _, state = step.learn(images, state)
        means.append(state["host.class_mean"])
    automatic, same, other = means
    assert torch.equal(automatic, same)
    assert not torch.equal(automatic, other)


def test_inside_a_window_what_is_left_out_adds_nothing_and_holds_its_place(
    margins: Callable[..., None],
) -> None:
    """Eq. 9 by hand on the frozen network: r_i / S min(1 / H, 1) exp(E_0 - H) H, or zero."""
    margins(0.97, 0.8)
    model = spread_out("residual", 0.7, 6)
    config = make_config(
        "nanoadapt:eata", preset="paper", smoothing=1.0, taylor="none", gradient="constant",
        views=0, accumulation=16,
    )  # fmt: skip
    step = step_of(model, config)
    state = step.initial_state()
    e0 = 0.8 * math.log(5)
    plain = copy.deepcopy(model).eval().requires_grad_(False)
    trained = affine(plain)
    mean, left_out, counted, weighty = None, 0, 0, 0
    for i, images in enumerate(batches(15, 1), 1):
        (row,) = plain(images)
        p, h = row.detach().softmax(0), entropy_of(row)
        similar = mean is not None and float(p @ mean / (p.norm() * mean.norm())) >= 0.97
        if h < e0 and not similar:
            r = (math.log(16) + math.log(i)) / (2 * math.log(16))
            certainty, weight = min(1 / float(h.detach()), 1.0), math.exp(e0 - float(h.detach()))
            (r / 16 * certainty * weight * h).backward()
            mean = p if mean is None else 0.9 * mean + 0.1 * p
            counted, weighty = counted + 1, weighty + (certainty < 1)
        else:
            left_out += 1
        _, state = step.learn(images, state)
        assert (int(state["opt.position"]), int(state["opt.counted"])) == (i, counted)
    assert min(left_out, counted, weighty) >= 2
    wanted = step.parameters.join({n: p.grad for n, p in trained.items()})
    torch.testing.assert_close(state["opt.gradient"], wanted, rtol=1e-5, atol=1e-9)


def test_a_window_of_which_nothing_counts_is_completed_without_a_step(
    margins: Callable[..., None],
) -> None:
    margins(1.0, 0.0)
    model = network("residual")
    adapting, fresh = (Adapter(model, "nanoadapt:eata", accumulation=4) for _ in range(2))
    for images in batches(9, 1):
        adapting(images)
    fresh.prepare((3, 8, 8))
    assert (adapting.updates, adapting.position) == (0, 1)
    assert int(adapting.state["opt.updates"]) == 2
    assert int(adapting.state["opt.applied"]) == 0
    for name in KEPT:
        assert torch.equal(adapting.state[name], fresh.state[name]), name


def test_the_first_step_of_adam_is_as_long_after_windows_of_which_nothing_counts(
    margins: Callable[..., None],
) -> None:
    """Its bias correction counts the steps taken, not the windows."""
    model = network("residual")
    margins(1.0, 1.0)
    options = {"accumulation": 1, "learning_rate": 1e-3, "reliable_below": 0.0}
    adapting = Adapter(model, "nanoadapt:eata", **options)
    images = batches(1, 1)[0]
    adapting(images)
    start = Adapter(model, "nanoadapt:eata", **options)
    start.prepare((3, 8, 8))
    direct = adapting.state["opt.parameters"] - start.state["opt.parameters"]
    assert float(direct.abs().max()) == pytest.approx(1e-3, rel=1e-2)
    late = {**start.state, "opt.updates": torch.tensor(30)}
    _, after = start.engine.learn(images.float(), late, 1)
    assert torch.equal(after["opt.parameters"], adapting.state["opt.parameters"])


def _fisher_by_hand(model: nn.Module, images: Tensor, batch_size: int) -> dict[str, Tensor]:
    """Mean of the squared gradients of the cross-entropy with the predicted labels (Eq. 9)."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    trained = affine(model)
    total = {name: torch.zeros_like(value) for name, value in trained.items()}
    parts = images.split(batch_size)
    for part in parts:
        logits = model(part)
        loss = functional.cross_entropy(logits, logits.argmax(1))
        for name, gradient in zip(
            trained, torch.autograd.grad(loss, list(trained.values())), strict=True
        ):
            total[name] += gradient**2
    return {name: value / len(parts) for name, value in total.items()}


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("calibration", ["running", "anchored"])
def test_fisher_diagonal_is_the_mean_squared_gradient_of_the_source(
    calibration: str, batch_size: int
) -> None:
    model, images = spread_out("residual", 2.0, 6), torch.cat(batches(5, 2))
    config = make_config(
        "nanoadapt:eata", fisher_weight=1.0, calibration=calibration, diversity=0.0
    )
    step = step_of(model, config)
    wanted = step.parameters.join(_fisher_by_hand(model, images, batch_size))
    assert float(wanted.max()) > 0
    diagonal = fisher_diagonal(step, images, batch_size)
    torch.testing.assert_close(diagonal, wanted, rtol=1e-6, atol=1e-12)


def test_with_a_fisher_diagonal_eata_equals_the_plain_regularised_loss(
    margins: Callable[..., None],
) -> None:
    margins(0.9)
    model, e0, beta = spread_out("residual", 3.0, 6), 0.4 * math.log(5), 20.0
    diagonal = _fisher_by_hand(model, torch.cat(batches(5, 2, seed=1)), 1)
    plain = PlainEata(model, 0.9, e0, beta=beta, diagonal=diagonal)
    free = PlainEata(model, 0.9, e0)
    config = make_config("eata", learning_rate=LEARNING_RATE, fisher_weight=beta)
    step = step_of(model, config)
    state = {**step.initial_state(), "host.fisher": step.parameters.join(diagonal)}
    for images in batches(30, 6):
        plain(images), free(images)
        _, state = step.learn(images, state)
    assert_parameters(step, state, plain.trained)
    held, freely = (
        sum(
            float((value.detach() - one.source[name]).norm()) for name, value in one.trained.items()
        )
        for one in (plain, free)
    )
    assert held < 0.9 * freely


def test_learning_without_the_fisher_diagonal_is_refused_and_calibrating_is_not() -> None:
    adapting = Adapter(network("residual"), "eata", fisher_weight=1.0)
    images = batches(1, 2)[0]
    adapting(images, learn=False)
    with pytest.raises(ConfigError, match=r"call estimate_fisher\(source_images\) first"):
        adapting(images)
    adapting.estimate_fisher(images)
    adapting(images)
    assert adapting.steps == 2


def test_the_fisher_diagonal_outlives_reset_saving_and_loading(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first = Adapter(network("residual"), "eata", fisher_weight=1.0)
    source, images = batches(2, 3)
    first.estimate_fisher(source)
    diagonal = first.state["host.fisher"]
    first(images)
    first.save(tmp_path / "state")
    loaded = Adapter(network("residual"), "eata", fisher_weight=1.0)
    loaded.load(tmp_path / "state")
    for adapting in (first, loaded):
        adapting.reset()
        assert torch.equal(adapting.state["host.fisher"], diagonal)
        assert adapting.steps == 0
        adapting(images)


@pytest.mark.parametrize(
    ("weight", "images", "batch_size", "error", "said"),
    [
        (0.0, torch.zeros(2, 3, 8, 8), 1, ConfigError, "set fisher_weight above 0"),
        (1.0, torch.zeros(0, 3, 8, 8), 1, ValueError, "images must be"),
        (1.0, torch.full((2, 3, 8, 8), math.nan), 1, ValueError, "NaN or infinity"),
        (1.0, torch.full((2, 3, 8, 8), 1e30), 1, ValueError, "give no gradients"),
        (1.0, torch.zeros(2, 3, 8, 8), 0, ValueError, "batch_size must be >= 1"),
    ],
)
def test_fisher_estimates_of_nothing_are_refused(
    weight: float, images: Tensor, batch_size: int, error: type[Exception], said: str
) -> None:
    adapting = Adapter(network("residual"), "eata", fisher_weight=weight)
    with pytest.raises(error, match=said):
        adapting.estimate_fisher(images, batch_size)
