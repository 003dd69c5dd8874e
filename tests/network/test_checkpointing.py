"""Activation checkpointing: the step of a network that runs once, and less saved for backward."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.adapter import Adapter
from edge_tta.engines.base import Backward
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ConfigError
from edge_tta.method.state import State
from edge_tta.network import checkpointing, cutting
from edge_tta.network.checkpointing import CheckpointedProgram
from edge_tta.network.program import AsTrained, Program, is_batch_norm
from edge_tta.network.saved import saved_bytes
from tests.network.test_lean import MORE, built, distance
from tests.networks import NETWORKS, network, with_statistics


def cut_everywhere(
    program: Program, image_shape: tuple[int, ...], trained: Iterable[str], segments: int | str
) -> CheckpointedProgram:
    """In place of `checkpointed`: all segments that can be, whether or not less is saved."""
    values = {name: program.parameters[name].detach().requires_grad_() for name in trained}
    images = torch.zeros(2, *image_shape)
    sizes = cutting.measured(program, images, AsTrained(program, values))
    return checkpointing.cut_at(program, cutting.cuts(program, sizes))


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointing, "checkpointed", cut_everywhere)


def segments_of(adapter: Adapter, shape: tuple[int, ...]) -> int:
    adapter.prepare(shape)
    program = engine_of(adapter).step.program
    return len(program.segments) if isinstance(program, CheckpointedProgram) else 1


def learned(
    net: nn.Module, segments: int | str, saved: str = "float32", **options: object
) -> tuple[Tensor, State, int]:
    options = {"reliable_below": 0.0, "accumulation": 2, **options}
    adapter = Adapter(net, backward=Backward(saved, segments), **options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        logits = adapter(torch.randn(2, 3, 16, 16, generator=generator) + 0.3)
    return logits, adapter.state, segments_of(adapter, (3, 16, 16))


def assert_same(actual: State, wanted: State) -> None:
    assert actual.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(actual[key], value, rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("saved", ["stock", "float16"])
@pytest.mark.parametrize("name", [*NETWORKS, *MORE])
def test_logits_gradients_and_statistics_are_those_of_a_network_run_once(
    name: str, saved: str, everywhere: None
) -> None:
    net = built(name)
    wanted, state, _ = learned(net, 0, saved=saved)
    logits, actual, number = learned(net, "auto", saved=saved)
    assert number > 2
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-6)
    assert_same(actual, state)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "nanoadapt:sar"},
        {"method": "nanoadapt:eata", "views": 1},
        {"calibration": "running", "diversity": 0.0},
        {"views": 3},
        {"train": "affine+conv"},
        {"depth": 2},
    ],
    ids=str,
)
def test_so_they_are_with_other_hosts_views_and_trained_parameters(
    options: dict[str, object], everywhere: None
) -> None:
    wanted, state, _ = learned(network("residual"), 0, **options)
    logits, actual, _ = learned(network("residual"), "auto", **options)
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-6)
    assert_same(actual, state)


@pytest.mark.parametrize("name", ["residual", "concatenating"])
def test_under_autocast_they_are_so_to_the_rounding_of_bfloat16(
    name: str, everywhere: None
) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        wanted, state, _ = learned(network(name), 0, accumulation=100)
        logits, actual, _ = learned(network(name), "auto", accumulation=100)
    torch.testing.assert_close(logits, wanted, rtol=0.05, atol=0.05)
    assert distance(actual["opt.gradient"], state["opt.gradient"]) < 0.1


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


def kept_bytes(net: nn.Module, segments: int | str) -> tuple[int, int]:
    adapter = Adapter(net, backward=Backward(checkpointing=segments), reliable_below=0.0)
    images = torch.randn(1, 3, 32, 32)
    adapter(images)
    program = engine_of(adapter).step.program
    there = [*program.tensors(), *adapter.state.values()]
    kept = saved_bytes(lambda: adapter(images), {t.untyped_storage().data_ptr() for t in there})
    return kept, segments_of(adapter, (3, 32, 32))


def test_less_is_saved_and_no_more_segments_are_made_than_asked_for() -> None:
    net = with_statistics(Deep())
    all_of_it, _ = kept_bytes(net, 0)
    halves, two = kept_bytes(net, 2)
    thirds, three = kept_bytes(net, 3)
    least, most = kept_bytes(net, "auto")
    assert (two, three) == (2, 3) < (most, most)
    assert least < thirds < halves < all_of_it
    assert least < 0.5 * all_of_it


def test_where_every_cut_would_leave_more_saved_none_is_made() -> None:
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


def most_saved(inputs: list[int], saved: list[int], begins: list[int]) -> int:
    """Bytes that a plan leaves saved, as the module says it."""
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
    least = min(most_saved(inputs, saved, way) for way in ways)
    segments = cutting.plan(inputs, saved, most)
    assert len(segments) <= (most or n)
    assert most_saved(inputs, saved, segments) <= least * (1 + 1 / 128) + 1


def test_what_a_batchnorm_writes_over_is_no_place_to_cut(everywhere: None) -> None:
    adapter = Adapter(network("plain"), backward=Backward("float32", "auto"))
    adapter.prepare((3, 16, 16))
    program = engine_of(adapter).step.program
    assert isinstance(program, CheckpointedProgram)
    assert len(program.segments) > 2
    for segment in program.segments[1:]:
        first = next(n for n in segment.module.graph.nodes if n.op == "placeholder")
        sites = [user.args[1] for user in first.users if is_batch_norm(user)]
        assert not any(program.fused[index].in_place for index in sites)


def test_a_residual_that_a_batchnorm_reads_is_a_place_to_cut(everywhere: None) -> None:
    class Identity(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.bn0 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(self.bn0(self.stem(x)))
            x = functional.relu(x + self.bn(self.conv(x)))
            return self.head(x.mean((2, 3)))

    net = with_statistics(Identity())
    wanted, state, _ = learned(net, 0, saved="float32")
    logits, actual, number = learned(net, "auto", saved="float32")
    assert number > 2
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-6)
    assert_same(actual, state)


@pytest.mark.parametrize(("field", "value"), [("gradient", "proxy"), ("taylor", "affine")])
def test_statistics_that_are_no_constants_are_refused(field: str, value: str) -> None:
    options = {field: value}
    with pytest.raises(ConfigError, match=f"with {field} = '{value}' .*set {field} = '"):
        Adapter(network("plain"), backward=Backward(checkpointing="auto"), **options)  # type: ignore[arg-type]
    Adapter(network("plain"), "norm", backward=Backward(checkpointing="auto"))


@pytest.mark.parametrize("value", [-1, 1, 1.5, True, "most"])
def test_other_numbers_of_segments_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="must be 'auto', or a number of segments from 2"):
        Adapter(network("plain"), backward=Backward(checkpointing=value))  # type: ignore[arg-type]
