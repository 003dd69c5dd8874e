"""The lean executor computes what PyTorch's autograd computes, and keeps less for it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.adapter import Adapter
from edge_tta.engines.base import Backward
from edge_tta.engines.torch import engine_of
from edge_tta.errors import ConfigError
from edge_tta.method.state import State
from edge_tta.method.step import Step
from edge_tta.network.capture import capture
from edge_tta.network.lean import batch_norm
from edge_tta.network.lean.codes import Code, Precision
from edge_tta.network.lean.rewriting import lean_program
from edge_tta.network.saved import saved_bytes
from edge_tta.probability import as_array
from tests.networks import NETWORKS, frozen, network, with_statistics

# Relative error of the gradient; int8 of few values is coarse.
TOLERANCE = {"float32": 3e-5, "float16": 1e-3, "int8": 4e-2}
PATHS = ("constant", "calibrated", "proxy", "renormalised")


class Bottleneck(nn.Module):
    """ReLU6, a stem with a max pool, an average pool, two BatchNorms that meet in a ReLU."""

    def __init__(self, before: bool = False) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(3) if before else nn.Identity()
        self.stem, self.bn0 = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)
        self.down, self.bn4 = nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)
        self.average = nn.AvgPool2d(2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.bn0(self.stem(self.before(x)))))
        y = functional.relu6(self.bn1(self.conv1(x)))
        y = functional.silu(self.bn2(self.conv2(y)))
        y = functional.relu(self.bn3(self.conv3(y)) + self.bn4(self.down(x)))
        return self.head(self.average(y).mean((2, 3)))


class Thin(nn.Module):
    """Channels whose gamma is zero, tiny or negative."""

    def __init__(self, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), act()
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.bn1(self.conv1(x)))
        z = self.bn2(self.conv2(y))
        return self.head(functional.relu(z + y[:, :, 1:-1, 1:-1]).mean((2, 3)))

    def thin(self) -> Thin:
        with torch.no_grad():
            for bn in (self.bn1, self.bn2):
                bn.weight.copy_(torch.tensor([0.0, 1e-5, -1e-3, -1.0, 1.0, 0.5]))
                bn.bias.copy_(torch.tensor([0.5, 0.7, 0.9, 0.1, -0.2, 0.0]))
        return self


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "bottleneck":
        return with_statistics(Bottleneck())
    if name == "bottleneck-inside":
        return with_statistics(Bottleneck(before=True))
    if name.startswith("thin"):
        act = {"thin": nn.ReLU, "thin6": nn.ReLU6, "thin-swish": nn.Hardswish}[name]
        return with_statistics(Thin(act)).thin()  # type: ignore[union-attr]
    return network(name)


MORE = ("bottleneck", "bottleneck-inside", "thin", "thin6", "thin-swish")


def learned(net: nn.Module, saved: str, **options: object) -> tuple[Tensor, State]:
    adapter = Adapter(
        net, backward=Backward(saved), reliable_below=0.0, accumulation=100, depth=0, **options
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        logits = adapter(torch.randn(2, 3, 16, 16, generator=generator) + 0.3)
    return logits, adapter.state


def distance(gradient: Tensor, wanted: Tensor) -> float:
    return float((gradient - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, "constant") for name in [*NETWORKS, *MORE]]
    + [("bottleneck", path) for path in PATHS[1:]]
    + [("one-dimensional", "proxy"), ("thin-swish", "proxy")],
)
def test_gradients_statistics_and_logits_are_those_of_stock_autograd(name: str, path: str) -> None:
    net = built(name)
    wanted, state = learned(net, "stock", gradient=path)
    for saved, tolerance in TOLERANCE.items():
        logits, lean = learned(net, saved, gradient=path)
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
        for key in (
            "calib.recent_offset",
            "calib.recent_variance",
            "calib.lasting_offset",
            "calib.from_lasting",
            "calib.from_recent",
        ):
            torch.testing.assert_close(lean[key], state[key], rtol=1e-4, atol=1e-5)
        assert distance(lean["opt.gradient"], state["opt.gradient"]) < tolerance, saved


@pytest.mark.parametrize("preset", ["paper", "edge"])
@pytest.mark.parametrize("options", [{}, {"train": "affine+conv"}], ids=["affine", "convolutions"])
def test_taylor_terms_and_trained_convolutions_are_as_with_stock_autograd(
    preset: str, options: dict[str, str]
) -> None:
    net = built("residual")
    wanted, state = learned(net, "stock", preset=preset, taylor="affine", **options)
    logits, lean = learned(net, "float32", preset=preset, taylor="affine", **options)
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
    for key, value in state.items():
        torch.testing.assert_close(lean[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", MORE)
def test_float64_gradients_are_exact_whatever_gamma_is(name: str) -> None:
    plain = capture(frozen(built(name), torch.float64), (3, 16, 16))
    lean = lean_program(plain, Precision.FLOAT32, channels_last=True)
    config = Adapter(built(name), reliable_below=0.0, accumulation=100).config
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    gradients = []
    for program in (plain, lean):
        step = Step(program, config)
        gradients.append(step.learn(images, step.initial_state())[1]["opt.gradient"])
    # Single channels: a thin one must not hide behind the others.
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("saved", TOLERANCE)
@pytest.mark.parametrize("name", MORE)
def test_what_runs_on_cuda_computes_the_same(
    name: str, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, state = learned(built(name), saved)
    monkeypatch.setattr(Tensor, "is_cuda", property(lambda tensor: True))
    logits, lean = learned(built(name), saved)
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
    assert distance(lean["opt.gradient"], state["opt.gradient"]) < 0.1 * TOLERANCE[saved]


def kept_bytes(net: nn.Module, saved: str) -> int:
    adapter = Adapter(net, backward=Backward(saved), reliable_below=0.0)
    images = torch.randn(1, 3, 64, 64)
    adapter(images)
    program = engine_of(adapter).step.program
    there = [*program.tensors(), *adapter.state.values()]
    return saved_bytes(lambda: adapter(images), {t.untyped_storage().data_ptr() for t in there})


def test_each_precision_keeps_about_half_of_the_one_before() -> None:
    net = built("bottleneck")
    kept = [kept_bytes(net, saved) for saved in ("stock", "float32", "float16", "int8")]
    for more, less in itertools.pairwise(kept):
        assert less < 0.65 * more, kept


def test_a_forced_copy_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    net = built("bottleneck")
    before = kept_bytes(net, "float16")

    def wide(x: Tensor, precision: Precision, **_: bool) -> Code:
        return Code(x.clone(), x.new_empty(0))

    monkeypatch.setattr(batch_norm, "encode", wide)
    assert kept_bytes(net, "float16") > 1.5 * before


def test_nothing_is_kept_below_the_lowest_adapted_layer() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
            self.conv2, self.bn = nn.Conv2d(32, 4, 3, stride=4), nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(self.bn(self.conv2(functional.relu(self.conv1(x)))))
            return self.head(x.mean((2, 3)))

    values = 4 * 16 * 16
    assert kept_bytes(with_statistics(Late()), "float32") < 4 * values + 1000


@pytest.mark.parametrize("path", ["constant", "proxy"])
@pytest.mark.parametrize("name", [*NETWORKS, *MORE])
def test_under_autocast_gradients_are_as_exact_as_those_of_stock_autograd(
    name: str, path: str
) -> None:
    net = built(name)
    exact = learned(net, "stock", gradient=path)[1]["opt.gradient"]
    with torch.autocast("cpu", torch.bfloat16):
        wanted, state = learned(net, "stock", gradient=path)
        for saved in TOLERANCE:
            logits, lean = learned(net, saved, gradient=path)
            assert logits.dtype is wanted.dtype is torch.bfloat16
            # bfloat16 has a relative rounding error of 2^-9.
            torch.testing.assert_close(logits, wanted, rtol=0.05, atol=0.05)
            assert distance(lean["calib.recent_offset"], state["calib.recent_offset"]) < 1e-2, saved
            own = distance(state["opt.gradient"], exact)
            assert distance(lean["opt.gradient"], exact) < 1.5 * own + TOLERANCE[saved] + 1e-2, (
                saved
            )


def test_a_prediction_under_autocast_is_an_array() -> None:
    adapter, image = Adapter(built("bottleneck")), torch.randn(1, 3, 16, 16).numpy()
    with torch.autocast("cpu", torch.bfloat16):
        assert as_array(adapter(image)).dtype == "float32"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="saved must be one of stock, float32, float16, int8"):
        Adapter(built("bottleneck"), backward=Backward("int4"))
