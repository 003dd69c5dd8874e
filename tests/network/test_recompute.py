"""Parts that are run again in the backward pass: the step of a network run once, and less waits."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.adapter import Adapter
from edge_tta.errors import ConfigError
from edge_tta.method.state import State
from edge_tta.method.step import Pass, Step
from edge_tta.network import cutting
from edge_tta.network.recompute import Parts
from edge_tta.network.saved import saved_bytes
from tests.network.test_lean import MORE, built
from tests.networks import NETWORKS, network, with_statistics


def cut_everywhere(step: Step, state: State, shape: tuple[int, ...]) -> int:
    """Gives a step as many parts as its graph allows, whether or not less waits; their number."""
    values = {k: v.requires_grad_() for k, v in step.parameters.split(state["parameters"]).items()}
    forward = Pass(step, state, values, 1, moved=False, frozen=True)
    sizes = cutting.measured(step.program, torch.zeros(2, *shape), forward, set())
    step._parts = Parts(step.program, cutting.cuts(step.program.plain.graph, sizes))
    return len(step._parts)


def learned(net: nn.Module, recompute: int | str, **options: object) -> tuple[Tensor, State, int]:
    options = {"reliable": 0.0, "accumulation": 2, **options}
    adapter = Adapter(net, recompute=recompute, **options)  # type: ignore[arg-type]
    step = adapter.prepare((3, 16, 16))
    number = cut_everywhere(step, adapter.state, (3, 16, 16)) if recompute else 1
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        logits = adapter(torch.randn(2, 3, 16, 16, generator=generator) + 0.3)
    return logits, adapter.state, number


def assert_same(found: State, wanted: State) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("saved", ["stock", "float16"])
@pytest.mark.parametrize("name", [*NETWORKS, *MORE])
def test_logits_gradients_and_statistics_are_those_of_a_network_run_once(
    name: str, saved: str
) -> None:
    net = built(name)
    wanted, state, _ = learned(net, 0, saved=saved)
    logits, found, number = learned(net, "auto", saved=saved)
    assert number > 2
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-6)
    assert_same(found, state)


@pytest.mark.parametrize(
    "options",
    [
        {"host": "sar"},
        {"host": "eata", "views": 1},
        {"calibration": "running", "diversity": 0.0},
        {"views": 3},
        {"views": 3, "views_at_a_time": 1},
        {"adapt": "affine+conv"},
        {"depth": 2},
        {"statistics_over": "frame", "views": 1},
    ],
    ids=str,
)
def test_so_they_are_with_other_hosts_views_and_trained_parameters(
    options: dict[str, object],
) -> None:
    wanted, state, _ = learned(network("residual"), 0, **options)
    logits, found, _ = learned(network("residual"), "auto", **options)
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-6)
    assert_same(found, state)


@pytest.mark.parametrize("name", ["residual", "concatenating"])
def test_so_they_are_of_streams_that_share_a_batch_and_under_autocast(name: str) -> None:
    adapter = Adapter(network(name), reliable=0.0, accumulation=1)
    program = adapter.network.program((3, 16, 16), "float32")
    images, found = torch.randn(6, 3, 16, 16), []
    for recompute in (0, "auto"):
        step = Step(program, adapter.config, 3, recompute=recompute)
        logits, state = step.learn(images, step.initial_state())
        with torch.autocast("cpu", torch.bfloat16):
            found.append((logits, *step.learn(images, state)))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-5, atol=1e-6)
    assert_same(found[1][2], found[0][2])


class Deep(nn.Module):
    """Blocks one after another, and a number of images that the last of them reads."""

    def __init__(self, blocks: int = 9) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(8 * (1 + i % 2), 8 * (2 - i % 2), 3, padding=1) for i in range(2 * blocks)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 * (2 - i % 2)) for i in range(2 * blocks))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        images = x.shape[0]
        x = self.stem(x)
        for i in range(0, len(self.norms), 2):
            y = functional.relu(self.norms[i](self.convolutions[i](x)))
            x = functional.relu(self.norms[i + 1](self.convolutions[i + 1](y)))
        return self.head(x.reshape(images, 8, -1).mean(2))


def kept_bytes(net: nn.Module, recompute: int | str) -> tuple[int, int]:
    adapter = Adapter(net, recompute=recompute, reliable=0.0)
    images = torch.randn(1, 3, 32, 32)
    adapter(images)
    step = adapter.prepare((3, 32, 32))
    there = [*step.program.tensors(), *adapter.state.values()]
    kept = saved_bytes(lambda: adapter(images), {t.untyped_storage().data_ptr() for t in there})
    parts = step.parts(images, adapter.state)
    return kept, 1 if parts is None else len(parts)


def test_what_waits_is_less_and_no_more_parts_are_made_than_asked_for() -> None:
    net = with_statistics(Deep())
    all_of_it, _ = kept_bytes(net, 0)
    halves, two = kept_bytes(net, 2)
    thirds, three = kept_bytes(net, 3)
    least, parts = kept_bytes(net, "auto")
    assert (two, three) == (2, 3) < (parts, parts)
    assert least < thirds < halves < all_of_it
    assert least < 0.5 * all_of_it


def test_where_every_cut_would_leave_more_to_wait_none_is_made() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, padding=1)
            self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head((x + self.bn(self.conv(x))).mean((2, 3)))

    net = with_statistics(Forked())
    assert kept_bytes(net, "auto") == kept_bytes(net, 0)


def waiting(inputs: list[int], saved: list[int], begins: list[int]) -> int:
    """Of a plan, as the module says it."""
    most = now = 0
    for begin, end in itertools.pairwise([*begins, len(saved)]):
        kept = sum(saved[begin:end])
        now += inputs[begin] if kept and end < len(saved) else 0
        most = max(most, now + kept)
    return most


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("most", [None, 2, 3])
def test_a_plan_is_the_best_of_all(seed: int, most: int | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = 7
    inputs = torch.randint(1, 400, (n,), generator=generator).tolist()
    saved = torch.randint(0, 2000, (n,), generator=generator).tolist()
    saved = [size if size > 500 else 0 for size in saved]
    ways = [
        [0, *rest]
        for k in range(most or n)
        for rest in itertools.combinations(range(1, n), k)
    ]  # fmt: skip
    least = min(waiting(inputs, saved, way) for way in ways)
    found = cutting.plan(inputs, saved, most)
    assert len(found) <= (most or n)
    assert waiting(inputs, saved, found) <= least * (1 + 1 / 128) + 1


def test_what_a_batchnorm_writes_over_is_no_place_to_cut() -> None:
    step = Adapter(network("plain"), saved="float32").prepare((3, 16, 16))
    assert cut_everywhere(step, step.initial_state(), (3, 16, 16)) > 2
    assert step._parts is not None
    for part in step._parts._parts[1:]:
        first = next(n for n in part.module.graph.nodes if n.op == "placeholder")
        assert not any(
            user.target == "normalise" and len(user.args) > 8 and user.args[8]
            for user in first.users
        )


@pytest.mark.parametrize(("field", "value"), [("gradient", "proxy"), ("taylor", "affine")])
def test_statistics_that_are_no_constants_are_refused(field: str, value: str) -> None:
    options = {field: value}
    with pytest.raises(ConfigError, match=f"with {field} = '{value}' .*set {field} = '"):
        Adapter(network("plain"), recompute="auto", **options)  # type: ignore[arg-type]
    Adapter(network("plain"), "norm", recompute="auto")


@pytest.mark.parametrize("value", [-1, 1, 1.5, True, "most"])
def test_other_numbers_of_parts_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="recompute must be 'auto', or a number of parts from 2"):
        Adapter(network("plain"), recompute=value)  # type: ignore[arg-type]
