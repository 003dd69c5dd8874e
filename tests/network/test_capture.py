"""Capture: BatchNorm is found wherever it stands, and what cannot be adapted is refused."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.errors import ModelError
from edge_tta.network.capture import capture, fingerprint_of
from edge_tta.network.program import AsTrained, Execution, Program, Site, Statistics
from tests.networks import NETWORKS, frozen, network, with_statistics

Forward = Callable[[Any, Tensor], Any]


class Source(AsTrained):
    """Hook that notes the layers it is asked for."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.asked: list[str] = []

    def statistics(self, site: Site, *rest: Any) -> Statistics:
        self.asked.append(site.layer.name)
        return super().statistics(site, *rest)


class Net(nn.Module):
    """Two convolutions with BatchNorm; what `forward` does is given."""

    def __init__(self, forward: Forward, prepare: Callable[[Any], object] | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)
        self._forward = forward
        if prepare is not None:
            prepare(self)

    def body(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))

    def tail(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def _net(forward: Forward, prepare: Callable[[Any], object] | None = None) -> nn.Module:
    torch.manual_seed(0)
    return frozen(with_statistics(Net(forward, prepare)))


def _plain(net: Any, x: Tensor) -> Tensor:
    return net.tail(net.body(x))


def _images(n: int = 3, size: int = 8) -> Tensor:
    return torch.randn((n, 3, size, size), generator=torch.Generator().manual_seed(5))


def _assert_equal(program: Program, model: nn.Module, images: Tensor) -> Source:
    """The program with source statistics computes what the model does, watching or not."""
    expected = model(images.clone())
    for watch in (False, True):
        hook = Source(program)
        outputs = program.run(images, hook, watch=watch)
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=atol)
    return hook


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_with_source_statistics_the_program_equals_the_module(
    name: str, dtype: torch.dtype
) -> None:
    model = frozen(network(name), dtype)
    program = capture(model, (3, 12, 10))
    for n in (1, 2, 5):
        images = torch.randn((n, 3, 12, 10), dtype=dtype)
        _assert_equal(program, model, images)


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("plain", ["bn1", "bn2", "bn3"]),
        ("residual", ["bn0", "bn1", "bn2", "bn3", "bn4"]),
        ("pre-activation", ["bn1", "bn2"]),
        ("used-twice", ["bn", "bn"]),
        ("concatenating", ["bn1", "bn2"]),
        ("one-dimensional", ["bn1", "bn2"]),
    ],
)
def test_every_call_of_a_batchnorm_is_a_site_in_the_order_of_the_forward_pass(
    name: str, sites: list[str]
) -> None:
    model = frozen(network(name))
    program = capture(model, (3, 8, 8))
    assert [site.layer.name for site in program.sites] == sites
    assert [site.index for site in program.sites] == list(range(len(sites)))
    assert _assert_equal(program, model, _images()).asked == sites
    assert [layer.name for layer in program.layers] == list(dict.fromkeys(sites))
    for layer in program.layers:
        module = model.get_submodule(layer.name)
        assert isinstance(module, nn.modules.batchnorm._BatchNorm)
        assert (layer.channels, layer.eps) == (module.num_features, module.eps)
        assert torch.equal(layer.mean, module.running_mean)  # type: ignore[arg-type]
        assert torch.equal(layer.variance, module.running_var)  # type: ignore[arg-type]
        assert (layer.weight is not None) == module.affine == (layer.bias is not None)


def test_normalising_otherwise_changes_what_comes_out() -> None:
    """The open sites are the network's only BatchNorms: none is left inside the graph."""
    program = capture(frozen(network("residual")), (3, 8, 8))

    class Zero(Execution):
        def normalise(self, index: int, z: Tensor, *_: Any) -> Tensor:
            return torch.zeros_like(z)

    logits = program.plain(_images(), Zero(program, AsTrained(program), {}))
    torch.testing.assert_close(logits, network("residual").head.bias.expand(3, -1))
    for module in (program.plain, program.watching):
        assert "batch_norm" not in module.code


def test_parameters_that_may_be_trained_are_read_from_the_hook() -> None:
    model = frozen(network("plain"))
    program = capture(model, (3, 8, 8))
    affine = {f"bn{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")}
    linear = {"conv1.weight", "conv1.bias", "conv2.weight", "fc.weight", "fc.bias"}
    assert set(program.parameters) == affine | linear
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for name in program.parameters:
            changed.get_parameter(name).mul_(1.5)

    class Changed(Source):
        def parameter(self, name: str) -> Tensor:
            return changed.get_parameter(name)

    torch.testing.assert_close(program.run(_images(), Changed(program)), changed(_images()))


def _stem(net: Any, x: Tensor) -> Tensor:
    y: Tensor = net.bn1(net.conv1(x))
    return y


def _sum_in_place(net: Any, x: Tensor) -> Tensor:
    y = _stem(net, x)
    y += net.conv2(y)
    return net.tail(net.bn2(y).relu_())


def _squeezing(net: Any, x: Tensor) -> Tensor:
    logits: Tensor = net.head(functional.adaptive_avg_pool2d(net.body(x), 1).squeeze())
    return logits


def _without_bias(net: Any, x: Tensor) -> Tensor:
    bn = net.bn1
    return net.tail(functional.batch_norm(net.conv1(x), bn.running_mean, bn.running_var, bn.weight))


def _over_time(net: Any, x: Tensor) -> Tensor:
    return net.tail(net.bn3(net.conv1(x)[:, :, None])[:, :, 0])


def _branching(net: Any, x: Tensor) -> Tensor:
    y = torch.cond(x.sum() > 0, lambda z: 2 * z, lambda z: z - 1, (_stem(net, x),))
    return net.tail(y)


def _tie(net: Any) -> None:
    net.conv2.weight = net.head2.weight = nn.Conv2d(6, 6, 3, padding=1).weight


def _tied(net: Any, x: Tensor) -> Tensor:
    return net.tail(net.bn2(net.head2(functional.relu(net.bn1(net.conv2(net.conv1(x)))))))


def _affine_as_buffer(net: Any) -> None:
    del net.bn1.weight
    net.bn1.register_buffer("weight", torch.full((6,), 1.5))


WORKING: dict[str, tuple[Forward, Callable[[Any], object] | None]] = {
    "sum in place": (_sum_in_place, None),
    "input changed in place": (lambda net, x: _plain(net, x.mul_(2)), None),
    "no_grad in the forward pass": (torch.no_grad()(_plain), None),
    "squeezed batch axis of one image": (_squeezing, None),
    "functional, without bias": (_without_bias, None),
    "branch without BatchNorm": (_branching, None),
    "no affine part": (_plain, lambda net: setattr(net, "bn1", nn.BatchNorm2d(6, affine=False))),
    "cumulative": (_plain, lambda net: setattr(net, "bn1", nn.BatchNorm2d(6, momentum=None))),
    "SyncBatchNorm": (_plain, lambda net: setattr(net, "bn1", nn.SyncBatchNorm(6))),
    "BatchNorm3d": (_over_time, lambda net: setattr(net, "bn3", nn.BatchNorm3d(6))),
    "tied affine": (_plain, lambda net: setattr(net.bn2, "weight", net.bn1.weight)),
    "affine part as a buffer": (_plain, _affine_as_buffer),
    "weight norm": (_plain, lambda net: nn.utils.parametrizations.weight_norm(net.conv2)),
    "tied convolutions": (
        _tied,
        lambda net: (setattr(net, "head2", nn.Conv2d(6, 6, 3, padding=1)), _tie(net)),
    ),
    "hooks": (
        _plain,
        lambda net: (
            net.conv1.register_forward_hook(lambda module, given, y: 2 * y),
            net.conv2.register_forward_pre_hook(lambda module, given: (given[0] + 1,)),
        ),
    ),
}


@pytest.mark.parametrize("name", WORKING)
def test_unusual_networks_are_captured_for_any_number_of_images(name: str) -> None:
    model = _net(*WORKING[name])
    program = capture(model, (3, 8, 8))
    for n in (1, 4):
        images = _images(n)
        expected = model(images.clone()).reshape(n, 4)
        outputs = program.run(images, Source(program))
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-4)


def _dropped(net: Any, x: Tensor) -> Tensor:
    return functional.dropout(_plain(net, x), 0.5, training=True)


def _noisy(net: Any, x: Tensor) -> Tensor:
    return _plain(net, x + 1e-6 * torch.randn_like(x))


def _noisy_by_numpy(net: Any, x: Tensor) -> Tensor:
    return _plain(net, x + np.random.default_rng().random())


def _computed_affine(net: Any, x: Tensor) -> Tensor:
    bn = net.bn1
    y = functional.batch_norm(net.conv1(x), bn.running_mean, bn.running_var, bn.weight.abs())
    return net.tail(y)


def _computed_statistics(net: Any, x: Tensor) -> Tensor:
    y = functional.batch_norm(net.conv1(x), 2 * net.bn1.running_mean, net.bn1.running_var)
    return net.tail(y)


def _cond(net: Any, x: Tensor) -> Tensor:
    return net.tail(torch.cond(x.sum() > 0, net.bn1, net.bn2, (net.conv1(x),)))


def _part_in_place(net: Any, x: Tensor) -> Tensor:
    y = _stem(net, x)
    y[:, :2].mul_(3)
    return net.tail(net.bn2(y))


def _untracked(net: Any) -> None:
    net.bn1 = nn.BatchNorm2d(6, track_running_stats=False)


def _by_the_batch(net: Any, x: Tensor) -> Tensor:
    bn = net.bn1
    y = functional.batch_norm(net.conv1(x), bn.running_mean, bn.running_var, training=True)
    return net.tail(y)


REFUSED: dict[str, tuple[Forward, Callable[[Any], object] | None, str]] = {
    "no BatchNorm": (lambda net, x: net.tail(net.conv1(x)), None, "no BatchNorm"),
    "untracked": (_plain, _untracked, r"bn1 keeps no statistics"),
    "by the batch": (_by_the_batch, None, "its own buffers|by its batch in evaluation mode"),
    "BatchNorm in a branch": (_cond, None, "inside a control-flow branch"),
    "autocast": (torch.autocast("cpu", torch.bfloat16)(_plain), None, "a torch.autocast block"),
    "branch on data": (
        lambda net, x: _plain(net, x) if x.sum() > 0 else _plain(net, -x),
        None,
        "branches that depend on the data",
    ),
    "fixed batch": (lambda net, x: _plain(net, x).reshape(2, 4), None, "fix the batch size"),
    "random numbers": (_dropped, None, r"draws random numbers .*\(dropout"),
    "a little noise": (_noisy, None, r"draws random numbers .*\(randn_like"),
    "noise of another generator": (_noisy_by_numpy, None, "draws random numbers"),
    "part changed in place": (_part_in_place, None, "views of tensors in place"),
    "computed affine part": (_computed_affine, None, "computed in the forward pass"),
    "computed statistics": (_computed_statistics, None, "computed in the forward pass"),
    "statistics shared in part": (
        _plain,
        lambda net: setattr(net.bn2, "running_mean", net.bn1.running_mean),
        "shares its running mean",
    ),
    "images that depend on each other": (
        lambda net, x: _plain(net, x - x.mean(0)),
        None,
        "depend on their own image only",
    ),
    "an empty list": (lambda net, x: [], None, r"returns a list; expected a tensor"),
    "a scalar beside": (
        lambda net, x: (_plain(net, x), x.mean()),
        None,
        r"returns a tuple, of which one is a tensor of shape \(\); expected a tensor \(N, \.\.\.\)",
    ),
    "a number": (lambda net, x: x.sum(), None, r"shape \(\); expected a tensor \(N"),
    "a mapping": (
        lambda net, x: {"logits": _plain(net, x), "loss": None},
        None,
        "returns a dict with logits, loss, of which one is a NoneType; expected",
    ),
    "compiled inside": (
        lambda net, x: net.tail(torch.compile(net.body, backend="eager")(x)),
        None,
        "before torch.compile",
    ),
    "another argument": (lambda net, x: net.tail(x), None, "expected a forward pass of that"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_adapted_is_refused_in_one_line(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    forward, prepare, said = REFUSED[name]
    with pytest.raises(ModelError, match=said) as caught:
        capture(_net(forward, prepare), (3, 8, 8))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("tensor", "value", "said"),
    [
        ("bn1.running_var", -1.0, "bn1 has .*negative variance"),
        ("bn1.running_var", float("nan"), "not finite"),
        ("bn2.running_mean", float("inf"), "bn2 has .*not finite"),
        ("conv1.weight", float("nan"), "NaN or infinity; check that its weights"),
    ],
)
def test_damaged_weights_are_refused(tensor: str, value: float, said: str) -> None:
    model = _net(_plain)
    model.state_dict()[tensor].fill_(value)
    with pytest.raises(ModelError, match=said):
        capture(model, (3, 8, 8))


def test_capturing_leaves_the_module_as_it_was() -> None:
    model = _net(_plain)
    before = copy.deepcopy(model.state_dict())
    capture(model, (3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())


def test_the_fingerprint_tells_weights_apart_and_nothing_else() -> None:
    model = network("residual")
    known = fingerprint_of(model)
    assert fingerprint_of(copy.deepcopy(model).train()) == known
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    assert fingerprint_of(channels_last) == known
    assert fingerprint_of(copy.deepcopy(model).double()) != known
    for name, value in model.state_dict().items():
        changed = copy.deepcopy(model)
        changed.state_dict()[name].view(-1)[-1:].add_(1)
        assert fingerprint_of(changed) != known, (name, value.shape)


def _zoo(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo_of_networks", folder / "zoo" / "zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("cifar10_resnet20", 19),
        ("cifar10_resnet56", 55),
        ("cifar10_resnet8", 7),
        ("cifar100_micronet", 53),
        ("imagenet_mobilenetv1_025", 27),
        ("imagenet_mobilenetv2", 52),
    ],
)
def test_outside_networks_are_captured_whole(name: str, layers: int, outside_data: Path) -> None:
    zoo = _zoo(outside_data)
    size = zoo.INPUT[name]["size"]
    model = frozen(getattr(zoo, name)())
    program = capture(model, (3, size, size))
    assert len(program.layers) == len(program.sites) == layers
    assert program.classes == zoo.INPUT[name]["classes"]
    _assert_equal(program, model, _images(1, size))
