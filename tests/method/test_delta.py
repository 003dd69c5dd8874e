"""DELTA against a plain module of its TBR and a loop of its DOT."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edge_tta.config import make_config
from edge_tta.method import gradient, hosts
from edge_tta.network.kernels import Kernels, Normalisation
from tests.method.plain import affine, assert_parameters, batches, entropy_of, spread_out, step_of

LEARNING_RATE = 0.01


class Renormalising(nn.Module):
    """TBR: x^ = (x - mu_B) / sigma_B r + d, then gamma and beta; averages taken up after use."""

    def __init__(self, layer: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.eps = layer.eps
        self.mean: Tensor | None = None
        self.deviation: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        axes, column = [0, *range(2, x.ndim)], (1, -1) + (1,) * (x.ndim - 2)
        mean = x.mean(axes)
        deviation = ((x - mean.view(column)) ** 2).mean(axes).add(self.eps).sqrt()
        if self.mean is None or self.deviation is None:
            self.mean, self.deviation = mean.detach(), deviation.detach()
        r = deviation.detach() / self.deviation
        d = (mean.detach() - self.mean) / self.deviation
        hat = (x - mean.view(column)) / deviation.view(column) * r.view(column) + d.view(column)
        self.mean = 0.95 * self.mean + 0.05 * mean.detach()
        self.deviation = 0.95 * self.deviation + 0.05 * deviation.detach()
        return hat * self.weight.view(column) + self.bias.view(column)


class PlainDelta:
    """The network with TBR in the place of each BatchNorm, DOT in a loop, torch.optim.SGD."""

    def __init__(self, model: nn.Module, classes: int) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.trained = affine(self.model)
        for name, layer in list(self.model.named_children()):
            if isinstance(layer, _BatchNorm):
                setattr(self.model, name, Renormalising(layer))
        self.optimizer = torch.optim.SGD(self.trained.values(), lr=LEARNING_RATE, momentum=0.9)
        self.frequency = torch.full((classes,), 1 / classes, dtype=torch.float64)
        self.weights: list[float] = []

    def __call__(self, images: Tensor) -> Tensor:
        logits = self.model(images)
        weights = [1 / float(self.frequency[int(row.argmax())]) for row in logits]
        weights = [weight * len(weights) / sum(weights) for weight in weights]
        losses = [w * entropy_of(row) for w, row in zip(weights, logits, strict=True)]
        self.optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        self.optimizer.step()
        p = logits.detach().softmax(1).mean(0)
        self.frequency = 0.95 * self.frequency + 0.05 * p
        self.weights += weights
        return logits.detach()


@pytest.mark.parametrize(
    ("net", "n"), [("residual", 1), ("residual", 6), ("plain", 6), ("used-twice", 5)]
)
def test_delta_equals_the_plain_module_and_loop_over_30_batches(net: str, n: int) -> None:
    model = spread_out(net, 2.0, max(n, 2))
    plain = PlainDelta(model, model.head.out_features)
    step = step_of(model, make_config("delta", learning_rate=LEARNING_RATE))
    state = step.initial_state()
    for images in batches(30, n):
        wanted = plain(images)
        logits, state = step.learn(images, state)
        # 0.95 is a float32 in the step.
        torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)
    assert_parameters(step, state, plain.trained, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state["class_mean"], plain.frequency, rtol=1e-6, atol=1e-8)
    statistics = step.statistics(state)
    for name, module in plain.model.named_children():
        if isinstance(module, Renormalising):
            assert module.mean is not None
            assert module.deviation is not None
            mean, variance = statistics[name]
            torch.testing.assert_close(mean, module.mean, rtol=1e-5, atol=1e-6)
            deviation = (variance + module.eps).sqrt()
            torch.testing.assert_close(deviation, module.deviation, rtol=1e-5, atol=1e-6)
    assert (max(plain.weights) > 1.1) == (n > 1)


@pytest.mark.parametrize("shape", [(1, 4, 3, 3), (6, 4, 3, 3), (6, 4), (3, 4, 5)], ids=str)
def test_renormalised_output_is_by_the_averages_and_its_gradient_by_the_formula(
    shape: tuple[int, ...],
) -> None:
    generator = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 1
    layer = nn.BatchNorm1d(4).double()
    plain = Renormalising(layer)
    plain.mean = torch.randn(4, generator=generator, dtype=torch.float64)
    plain.deviation = 0.5 + torch.rand(4, generator=generator, dtype=torch.float64)
    mean, variance = plain.mean, plain.deviation**2 - layer.eps
    axes, column = [0, *range(2, z.ndim)], (1, -1) + (1,) * (z.ndim - 2)
    upstream = torch.randn(shape, generator=generator, dtype=torch.float64)

    z.requires_grad_()
    wanted = plain(z)
    (wanted_gradient,) = torch.autograd.grad((wanted * upstream).sum(), z)
    batch_mean = z.mean(axes)
    batch = batch_mean, ((z - batch_mean.view(column)) ** 2).mean(axes)
    used = gradient.renormalised(batch, (mean, variance), layer.eps)
    found = Kernels().normalise(z, Normalisation(*used, None, None, layer.eps), None, None)
    (found_gradient,) = torch.autograd.grad((found * upstream).sum(), z)

    by_averages = (z - mean.view(column)) / (variance + layer.eps).sqrt().view(column)
    torch.testing.assert_close(found, by_averages, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found_gradient, wanted_gradient, rtol=1e-10, atol=1e-12)
    assert float(wanted_gradient.abs().max()) > 0


def test_rare_classes_weigh_more_and_the_weights_have_mean_one() -> None:
    logits = torch.zeros(4, 3)
    logits[:2, 0] = logits[2, 1] = logits[3, 2] = 2.0  # equal entropies
    frequency = torch.tensor([0.6, 0.3, 0.1])
    losses = hosts.BY_NAME["delta"].judge(logits, {"class_mean": frequency}, make_config()).losses
    weights = losses / losses.mean()
    wanted = torch.tensor([1 / 0.6, 1 / 0.6, 1 / 0.3, 1 / 0.1])
    torch.testing.assert_close(weights, wanted / wanted.mean())


def test_a_class_that_was_never_predicted_keeps_a_finite_weight() -> None:
    frequency = torch.tensor([1.0, 0.0, 0.0])
    logits = torch.tensor([[0.0, 3.0, 0.0], [3.0, 0.0, 0.0]])
    judge = hosts.BY_NAME["delta"].judge
    for batch in (logits, logits[:1]):
        losses = judge(batch, {"class_mean": frequency}, make_config()).losses
        assert bool(torch.isfinite(losses).all())


def test_one_image_alone_weighs_one() -> None:
    logits = torch.randn(1, 5)
    frequency = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1])
    losses = hosts.BY_NAME["delta"].judge(logits, {"class_mean": frequency}, make_config()).losses
    torch.testing.assert_close(losses[0], entropy_of(logits[0]))


def test_as_a_host_nanoadapt_s_calibration_stands_in_tbr_s_place() -> None:
    """One image: the loss is Tent's, so nanoadapt:delta is nanoadapt:tent, and delta is not."""
    options = {"views": 0, "accumulation": 3}
    model = spread_out("residual", 2.0, 6)
    found = {}
    for method in ("nanoadapt:delta", "nanoadapt:tent"):
        step = step_of(model, make_config(method, preset="paper", **options))
        state = step.initial_state()
        for images in batches(9, 1):
            logits, state = step.learn(images, state)
        found[method] = {"logits": logits, **{n: v for n, v in state.items() if n != "class_mean"}}
    for name, value in found["nanoadapt:tent"].items():
        torch.testing.assert_close(found["nanoadapt:delta"][name], value, rtol=1e-9, atol=1e-12)
