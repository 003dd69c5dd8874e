"""What holds for every host: its module is enough to be tested here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_tta.config import HOSTS, LossConfig, make_config
from edge_tta.errors import ConfigError
from edge_tta.method import hosts
from edge_tta.method.hosts import make_host
from edge_tta.method.state import State
from edge_tta.method.step import Step
from tests.adapters import shared, stream
from tests.method import properties

NAMES = properties.modules_of(hosts, "base")
every_host = pytest.mark.parametrize("name", NAMES)
every_size = pytest.mark.parametrize(("n", "classes"), [(1, 2), (1, 10), (6, 10)])

pytestmark = pytest.mark.usefixtures("reachable_margins")

LOGITS = {
    "ordinary": lambda n, classes: torch.randn(n, classes),
    "unsure": lambda n, classes: torch.zeros(n, classes),
    "certain": lambda n, classes: 1e4 * torch.eye(classes)[torch.arange(n) % classes],
}


def _state(name: str, classes: int) -> State:
    return make_host(name, LossConfig()).memory(classes, torch.zeros(3))


def _logits(kind: str, n: int, classes: int) -> Tensor:
    torch.manual_seed(0)
    return LOGITS[kind](n, classes).requires_grad_()


def test_the_hosts_that_have_a_module_are_those_that_can_be_chosen() -> None:
    assert {*NAMES, "norm"} == set(HOSTS)


@pytest.mark.parametrize("missing", ["new_host", "new-host"])
def test_a_host_without_a_module_names_the_file_that_is_expected(missing: str) -> None:
    with pytest.raises(ConfigError, match=r"hosts/new_host\.py, and in .*methods\.py") as caught:
        make_host(missing, LossConfig())
    assert "\n" not in str(caught.value)


@every_host
def test_memory_is_the_hosts_own_finite_and_of_one_type(name: str) -> None:
    for value in (torch.zeros(3), torch.zeros(3, dtype=torch.float64)):
        memory = make_host(name, LossConfig()).memory(7, value)
        for key, tensor in memory.items():
            assert key.startswith("host.")
            assert tensor.dtype == value.dtype
            assert tensor.shape in ((), (7,)), key
            assert bool(torch.isfinite(tensor).all())


@every_host
@every_size
@pytest.mark.parametrize("kind", LOGITS)
def test_losses_mask_and_memory_have_their_shapes_and_are_finite(
    name: str, n: int, classes: int, kind: str
) -> None:
    host, state = make_host(name, LossConfig()), _state(name, classes)
    logits = _logits(kind, n, classes)
    answers = [host.loss(logits, state)]
    if host.second_pass is not None:
        answers.append(host.second_pass.loss(logits, answers[0], state))
    for answer in answers:
        assert answer.losses.shape == (n,)
        assert (answer.mask is not None) == host.filters
        if answer.mask is not None:
            assert (answer.mask.shape, answer.mask.dtype) == ((n,), torch.bool)
            assert not bool(answer.losses[~answer.mask].any())
        for key, value in answer.memory.items():
            assert (value.shape, value.dtype) == (state[key].shape, state[key].dtype)
            assert not value.requires_grad
            assert bool(torch.isfinite(value).all())
        (gradient,) = torch.autograd.grad(answer.losses.mean(), logits, retain_graph=True)
        assert bool(torch.isfinite(answer.losses).all() & torch.isfinite(gradient).all())
    # What is remembered is updated with every batch, in one pass or the other.
    assert {key for answer in answers for key in answer.memory} == set(state)


@every_host
@every_size
def test_a_second_pass_is_at_a_finite_offset_whatever_the_gradient(
    name: str, n: int, classes: int
) -> None:
    second = make_host(name, LossConfig()).second_pass
    if second is None:
        pytest.skip("the host has none")
    for value in (0.0, 1.0, 1e38, float("nan"), float("inf")):
        offset = second.offset(torch.full((5,), value))
        assert offset.shape == (5,)
        assert bool(torch.isfinite(offset).all())


@every_host
def test_there_is_nothing_to_recover_from_at_the_start(name: str) -> None:
    recovery = make_host(name, LossConfig()).recovery
    if recovery is None:
        pytest.skip("the host has none")
    state = _state(name, 4)
    memory, back = recovery(state)
    assert (back.shape, back.dtype, bool(back)) == ((), torch.bool, False)
    properties.assert_like(memory, {key: state[key] for key in memory})


@every_host
def test_a_regulariser_pulls_nowhere_at_the_source_and_towards_it_elsewhere(name: str) -> None:
    table = LossConfig(fisher_weight=2.0)
    regulariser = make_host(name, table).regulariser
    if regulariser is None:
        pytest.skip("the host has none")
    source, state = torch.randn(5), {"host.fisher": torch.rand(5) + 0.1}
    assert not bool(regulariser(source, source, state).any())
    assert bool((regulariser(source + 1, source, state) > 0).all())
    assert make_host(name, LossConfig()).regulariser is None


@every_host
def test_the_sites_that_train_are_some_of_the_networks_in_order(name: str) -> None:
    sites = shared("residual").program((3, 8, 8)).sites
    chosen = [site.index for site in make_host(name, LossConfig()).sites(sites)]
    assert chosen
    assert chosen == sorted(set(chosen))


def _step(name: str, preset: str) -> Step:
    config = make_config("nanoadapt", name, preset, accumulation=3, views=0, learning_rate=0.01)
    return Step(shared("residual").program((3, 8, 8)), config)


BATCHES = stream(6)
every_preset = pytest.mark.parametrize("preset", ["edge", "paper"])


@every_host
@every_preset
def test_every_state_of_a_host_is_as_the_first(name: str, preset: str) -> None:
    properties.assert_every_state_is_as_the_first(_step(name, preset), BATCHES)


@every_host
@every_preset
def test_a_step_of_a_host_is_pure(name: str, preset: str) -> None:
    properties.assert_pure(_step(name, preset), BATCHES)


@every_host
@every_preset
def test_a_host_resumes_exactly(name: str, preset: str) -> None:
    properties.assert_resumes(_step(name, preset), _step(name, preset), BATCHES)


@every_host
@every_preset
def test_a_host_recovers_from_logits_that_are_nan(name: str, preset: str) -> None:
    properties.assert_recovers_from_nan(_step(name, preset), BATCHES)
