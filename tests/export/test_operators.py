"""Each operator of the table computes what PyTorch computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from export.graph.convert import convert
from export.graph.emitter import Style
from export.graph.operators import OPERATORS, convolution_gradients
from export.graph.passes import improve
from export.graph.trace import Traced
from export.graph.weights import WeightFile

GENERATOR = torch.Generator().manual_seed(0)


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR)


def _assert_same(
    function: Callable[[Tensor], Tensor], x: Tensor, style: Style = "fast", atol: float = 1e-5
) -> None:
    """Values, and the gradient of a weighted sum of them."""
    wanted = function(x)
    weight = _random(*wanted.shape)

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        at = x.detach().requires_grad_()
        with torch.enable_grad():
            out = function(at)
            (grad,) = torch.autograd.grad((out * weight).sum(), at)
        return out.detach(), grad

    table = {op: rule for op, rule in core_aten_decompositions().items() if op not in OPERATORS}
    module = make_fx(both, decomposition_table=table)(x)
    improve(module)
    traced = Traced(module, ("x",), ("y", "g"))
    model = convert(traced, WeightFile(None), "test", style).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x.numpy()})
    for one, other in zip(found, both(x), strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=atol)


CONVOLUTIONS = [
    (kernel, stride, padding, dilation, groups)
    for kernel, padding, dilation in ((1, 0, 1), (3, 1, 1), (3, 0, 1), (3, 2, 2), (5, 2, 1))
    for stride in (1, 2)
    for groups in (1, 2, 4)
]


@pytest.mark.parametrize("style", ["fast", "compact"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("size", [8, 9])
def test_convolutions_and_their_input_gradients(
    case: tuple[int, int, int, int, int], size: int, style: Style
) -> None:
    kernel, stride, padding, dilation, groups = case
    weight, bias = _random(8 if groups < 4 else 4, 4 // groups, kernel, kernel), _random(8)
    bias = bias[: weight.shape[0]]

    def convolve(x: Tensor) -> Tensor:
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)

    _assert_same(convolve, _random(1, 4, size, size), style)
    _assert_same(convolve, _random(2, 4, size, size), style)


@pytest.mark.parametrize("most", [0, 1 << 19])
def test_a_flipped_kernel_is_the_same_stored_or_made_at_load(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution_gradients, "_FLIPPED_AT_LOAD", most)
    weight = _random(6, 4, 3, 5)
    _assert_same(lambda x: functional.conv2d(x, weight, padding=1), _random(1, 4, 8, 9))


@pytest.mark.parametrize(
    "case", [(1, 0, 1, 1, 1), (3, 1, 1, 1, 1), (3, 1, 2, 1, 2), (3, 2, 1, 2, 4), (3, 0, 2, 1, 1)]
)
def test_weight_gradients_of_convolutions(case: tuple[int, int, int, int, int]) -> None:
    kernel, padding, stride, dilation, groups = case
    image = _random(2, 4, 9, 9)
    weight = _random(8, 4 // groups, kernel, kernel)
    _assert_same(
        lambda w: functional.conv2d(image, w, None, stride, padding, dilation, groups),
        weight,
        atol=1e-4,
    )


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": lambda x: functional.hardtanh(x, -0.5, 0.7),
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "gelu tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.1),
    "elu": functional.elu,
    "selu": functional.selu,
    "softplus": functional.softplus,
    "mish": functional.mish,
    "clamp_min": lambda x: x.clamp_min(0.3),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "expm1": torch.expm1,
    "abs": torch.abs,
    "rsqrt": lambda x: (x.abs() + 0.1).rsqrt(),
    "power": lambda x: (x.abs() + 0.1) ** 1.5,
    "sqrt": lambda x: (x * x + 0.1).sqrt(),
    "log1p": lambda x: (x * x).log1p(),
    "maximum": lambda x: torch.maximum(x, -2 * x),
    "logsumexp": lambda x: x.logsumexp(1),
    "predicted": lambda x: torch.where(x == x.amax(1, keepdim=True), x * x, -x),
    "detached gather": lambda x: x * x.detach().gather(1, x.detach().argmax(1, keepdim=True)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_gradients(name: str) -> None:
    _assert_same(ACTIVATIONS[name], 2 * _random(2, 3, 5, 5))


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "max_pool": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "max_pool ceil": lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True),
    "avg_pool": lambda x: functional.avg_pool2d(x, 2),
    "avg_pool padded": lambda x: functional.avg_pool2d(x, 3, 1, 1),
    "global pool": lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
    "cat": lambda x: torch.cat([x, 2 * x, x[:, :1]], 1),
    "shuffle": lambda x: x.view(2, 2, 2, 8, 8).transpose(1, 2).reshape(2, 4, 8, 8),
    "chunk": lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1],
    "every second": lambda x: x[:, :, ::2, 1::2],
    "select": lambda x: x[:, 2] * x[:, 0],
    "pad": lambda x: functional.pad(x, (1, 2, 0, 1)),
    "unbind": lambda x: torch.stack(x.unbind(1)[::-1], 2),
    "expand": lambda x: x[:, :1].expand(2, 4, 8, 8) * 2,
    "mean": lambda x: x.mean((2, 3), keepdim=True) * x,
    "sum": lambda x: x.sum(1),
    "where": lambda x: torch.where(x > 0.5, x * x, -x),
    "linear": lambda x: functional.linear(x.flatten(1), torch.ones(3, 256) / 16, torch.ones(3)),
    "matmul": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    "amax": lambda x: x.amax((2, 3)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_pools_and_products_and_their_gradients(name: str) -> None:
    _assert_same(SHAPES[name], _random(2, 4, 8, 8), atol=1e-4)


RESIZINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest, twice": lambda x: functional.interpolate(x, scale_factor=2),
    "nearest, to a size": lambda x: functional.interpolate(x, size=(9, 12)),
}


@pytest.mark.parametrize("name", RESIZINGS)
def test_nearest_upsampling_by_whole_factors_and_its_gradient(name: str) -> None:
    _assert_same(RESIZINGS[name], _random(2, 3, 3, 4))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("size", [(9, 7), (4, 3), (2, 2)])
def test_bilinear_resizing(corners: bool, size: tuple[int, int]) -> None:
    x = _random(1, 2, 4, 3)

    def resized(x: Tensor) -> tuple[Tensor]:
        return (functional.interpolate(x, size, mode="bilinear", align_corners=corners),)

    module = make_fx(resized, decomposition_table={})(x)
    improve(module)
    model = convert(Traced(module, ("x",), ("y",)), WeightFile(None), "test", "fast")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, resized(x)[0].numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pattern", ["finite", "nan", "infinity"])
def test_the_check_for_finite_values(pattern: str) -> None:
    x = _random(3, 4)
    if pattern != "finite":
        x[1, 2] = torch.nan if pattern == "nan" else -torch.inf
    module = make_fx(lambda x: (torch.isfinite(x).all().to(torch.float32),))(x)
    improve(module)
    traced = Traced(module, ("x",), ("y",))
    model = convert(traced, WeightFile(None), "test").SerializeToString()
    assert len(model) < 1500  # one product, one sum, one comparison
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert bool(session.run(None, {"x": x.numpy()})[0]) == (pattern == "finite")
