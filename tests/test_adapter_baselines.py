"""`source`, `norm` and `tent` equal independent, plain PyTorch; `folded` equals the adapter."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from edge_tta.adapter import Adapter
from edge_tta.config import make_config
from edge_tta.method.step import Step
from edge_tta.network.capture import capture
from tests.adapters import CASES, WINDOW, adapter, assert_same, shared, stream
from tests.networks import NETWORKS, frozen, network

pytestmark = pytest.mark.usefixtures("reachable_margins")
every_network = pytest.mark.parametrize("net", NETWORKS)


def _by_batch(model: nn.Module) -> nn.Module:
    """A copy whose BatchNorms, and nothing else, are in training mode."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return model


class PlainTent:
    """Tent by the book: BatchNorm affine parameters, batch statistics, entropy, Adam."""

    def __init__(self, model: nn.Module) -> None:
        self.model = _by_batch(model).requires_grad_(False)
        self.trained = {
            f"{name}.{key}": parameter.requires_grad_(True)
            for name, module in self.model.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            for key, parameter in module.named_parameters()
        }
        self.optimizer = torch.optim.Adam(self.trained.values(), lr=1e-3)

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        self.optimizer.zero_grad()
        torch.distributions.Categorical(logits=logits).entropy().mean().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return logits.detach()


@every_network
def test_source_equals_the_model_as_trained_and_never_moves(net: str) -> None:
    model, adapting = network(net), adapter("source", net)
    for images in stream(5):
        with torch.no_grad():
            torch.testing.assert_close(adapting(images), model(images), rtol=1e-5, atol=1e-5)
    fresh = Step(capture(frozen(model), (3, 8, 8)), adapting.config).initial_state()
    assert_same({**adapting.state, "steps": fresh["steps"]}, fresh)


@every_network
@pytest.mark.parametrize("n", [4, 7])
def test_norm_equals_batchnorm_in_training_mode(net: str, n: int) -> None:
    model, adapting = network(net), adapter("norm", net)
    for images in stream(3, n=n):
        with torch.no_grad():
            expected = _by_batch(model)(images)
        torch.testing.assert_close(adapting(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", ["plain", "residual", "used-twice", "concatenating"])
def test_tent_equals_plain_autograd_tent_over_10_steps(net: str) -> None:
    plain, adapting = PlainTent(network(net)), adapter("tent", net)
    source = {name: value.detach().clone() for name, value in plain.trained.items()}
    for images in stream(10, n=4):
        torch.testing.assert_close(adapting(images), plain(images), rtol=1e-3, atol=1e-4)
    assert adapting.updates == 10
    learned = dict(adapting.folded().named_parameters())
    for name, value in plain.trained.items():
        torch.testing.assert_close(learned[name], value.detach(), rtol=0, atol=1e-4)
    moved = [float((plain.trained[n].detach() - v).abs().max()) for n, v in source.items()]
    assert max(moved) > 5e-3


def test_tent_trains_affine_parameters_only() -> None:
    adapting = adapter("tent", "residual")
    for images in stream(3):
        adapting(images)
    source = network("residual").state_dict()
    for name, value in adapting.folded().named_parameters():
        changed = not torch.equal(value, source[name])
        assert changed == name.startswith("bn"), name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("calibration", ["running", "anchored"])
def test_folded_predicts_as_the_adapter_would_with_all_it_learned_frozen(
    case: str, calibration: str
) -> None:
    options = {} if case == "source" else {"calibration": calibration}
    begun = {"initial": "source"} if calibration == "anchored" else {}
    adapting = adapter(case, "residual", diversity=0.0, **options, **begun)
    for images in stream(WINDOW + 1):
        adapting(images)
    images, before = stream(1, n=3, seed=9)[0], adapting.state
    expected = adapting.predict(images)
    assert_same(adapting.state, before)
    torch.testing.assert_close(adapting.folded()(images), expected, rtol=1e-4, atol=1e-5)
    if calibration == "running":
        source = network("residual")(images)
        assert torch.allclose(expected, source, atol=1e-3) == (case == "source")
        # The same by the step itself: smoothing 1 keeps the statistics, without Eq. 8.
        host = adapting.config.host
        depth = adapting.config.layers.depth
        options = {"smoothing": 1.0, "taylor": "none", "depth": depth}
        fixed = make_config("nanoadapt", host, preset="paper", **options)
        program = shared("residual").program((3, 8, 8))
        step = Step(program, fixed)
        by_hand, _ = step.observe(images, {**step.initial_state(), **adapting.state})
        torch.testing.assert_close(by_hand, expected, rtol=1e-5, atol=1e-6)


def test_folded_is_a_plain_module_that_adapts_no_more() -> None:
    model = network("residual")
    adapting = Adapter(model, "tent")
    for images in stream(3):
        adapting(images)
    folded = adapting.folded()
    assert type(folded) is type(model)
    assert not folded.training
    images = stream(1)[0]
    assert torch.equal(folded(images), folded(images))
    kept = copy.deepcopy(folded.state_dict())
    adapting(images)
    assert all(torch.equal(folded.state_dict()[name], value) for name, value in kept.items())


def test_folded_before_any_image_is_the_source() -> None:
    images = stream(1)[0]
    folded = adapter("tent", "residual").folded()
    assert torch.equal(folded(images), frozen(network("residual"))(images))


def test_reset_brings_folded_back_to_the_source() -> None:
    adapting, images = adapter("tent", "residual"), stream(1)[0]
    adapting(images)
    adapting.reset()
    expected = frozen(network("residual"))(images)
    torch.testing.assert_close(adapting.folded()(images), expected)
