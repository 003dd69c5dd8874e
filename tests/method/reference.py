"""NanoAdapt written from Eq. 4-12 as plainly as possible: raw moments, autograd Jacobians, loops.

The oracle of the `paper` preset. Plain on purpose, and for one explicit network only: the residual
one of `tests.networks`, whose layers are listed by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# BatchNorm -> (convolution just before it, BatchNorms before that).
BEFORE: dict[str, tuple[str, tuple[str, ...]]] = {
    "bn0": ("stem", ()),
    "bn1": ("conv1", ("bn0",)),
    "bn2": ("conv2", ("bn1",)),
    "bn3": ("down", ("bn0",)),
    "bn4": ("conv4", ("bn2", "bn3")),
}


class ProxyNormalisation(torch.autograd.Function):
    """Eq. 12: forward with the calibrated statistics, backward through the batch's own (Eq. 10)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(z, mean, variance)
        ctx.eps = eps
        column = (1, -1, 1, 1)
        return (z - mean.view(column)) / torch.sqrt(variance.view(column) + eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        z, mean, variance = ctx.saved_tensors
        count = z.numel() / z.shape[1]
        column, axes = (1, -1, 1, 1), (0, 2, 3)
        batch_mean = z.mean(axes)
        sd = torch.sqrt(variance + ctx.eps)
        d_variance = (grad * (z - mean.view(column))).sum(axes) * (-0.5) * sd**-3
        d_mean = -(grad / sd.view(column)).sum(axes)
        return (
            grad / sd.view(column)
            + d_variance.view(column) * 2 * (z - batch_mean.view(column)) / count
            + d_mean.view(column) / count,
            None,
            None,
            None,
        )


class Reference:
    """NanoAdapt with host Tent on `Residual`, in float64."""

    def __init__(
        self,
        net: nn.Module,
        *,
        smoothing: float,
        steps: int,
        learning_rate: float,
        gradient: str = "proxy",
        with_convolutions: bool = False,
    ) -> None:
        self.net, self.m, self.S, self.gradient = net, smoothing, steps, gradient
        self.bns = {name: getattr(net, name) for name in BEFORE}
        trained = [p for bn in self.bns.values() for p in (bn.weight, bn.bias)]
        self.conv_trained = with_convolutions
        if with_convolutions:
            for conv, _ in BEFORE.values():
                module = getattr(net, conv)
                trained += [module.weight] + ([] if module.bias is None else [module.bias])
        for parameter in trained:
            parameter.requires_grad_(True)
        self.trained = trained
        self.optimizer = torch.optim.Adam(trained, lr=learning_rate)
        self.optimizer.zero_grad()
        self.first = {n: bn.running_mean.clone() for n, bn in self.bns.items()}
        self.second = {n: bn.running_var + bn.running_mean**2 for n, bn in self.bns.items()}
        self.jacobian: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self.i = 0

    def _front(self, name: str) -> list[Tensor]:
        """theta^l of Eq. 8: the parameters just before a BatchNorm that are trained."""
        conv, earlier = BEFORE[name]
        module = getattr(self.net, conv)
        parameters = []
        if self.conv_trained:
            parameters += [module.weight] + ([] if module.bias is None else [module.bias])
        for bn in earlier:
            parameters += [self.bns[bn].weight, self.bns[bn].bias]
        return parameters

    def __call__(self, images: Tensor, views: int) -> Tensor:
        net, m = self.net, self.m
        hats: dict[str, Tensor] = {}
        new_jacobian: dict[str, list[tuple[Tensor, Tensor]]] = {}
        old = getattr(self, "previous", None) or {id(p): p.detach().clone() for p in self.trained}

        def normalise(name: str, z: Tensor, rebuild: Callable[..., Tensor]) -> Tensor:
            bn = self.bns[name]
            axes = (0, 2, 3)
            first, second = self.first[name], self.second[name]
            front = self._front(name)
            # Eq. 8: move the history by the Jacobians kept so far.
            for parameter, (by_mean, by_square) in zip(
                front, self.jacobian.get(name, []), strict=False
            ):
                change = (parameter.detach() - old[id(parameter)]).reshape(-1)
                first = first + by_mean @ change
                second = second + by_square @ change

            # This batch's Jacobians, by autograd.
            def statistics(*values: Tensor) -> tuple[Tensor, Tensor]:
                x = rebuild(*values)
                return x.mean(axes), (x**2).mean(axes)

            at = tuple(parameter.detach() for parameter in front)
            by: Any = ((), ())
            if at:
                by = torch.autograd.functional.jacobian(statistics, at, vectorize=True)
            now = [
                (by_mean.reshape(len(by_mean), -1), by_square.reshape(len(by_square), -1))
                for by_mean, by_square in zip(*by, strict=True)
            ]
            before = self.jacobian.get(name)
            new_jacobian[name] = (
                now
                if before is None
                else [
                    (m * b[0] + (1 - m) * n[0], m * b[1] + (1 - m) * n[1])
                    for b, n in zip(before, now, strict=True)
                ]
            )
            grows = self.gradient == "calibrated"
            batch = z if grows else z.detach()
            first = m * first + (1 - m) * batch.mean(axes)
            second = m * second + (1 - m) * (batch**2).mean(axes)
            self.first[name], self.second[name] = first.detach(), second.detach()
            variance = second - first**2
            if self.gradient == "proxy":
                hat = ProxyNormalisation.apply(z, first, variance, bn.eps)
            else:
                column = (1, -1, 1, 1)
                hat = (z - first.view(column)) / torch.sqrt(variance.view(column) + bn.eps)
            hats[name] = hat.detach()
            return hat * bn.weight.view(1, -1, 1, 1) + bn.bias.view(1, -1, 1, 1)

        def conv(
            module: nn.Conv2d, a: Tensor, weight: Tensor | None, bias: Tensor | None
        ) -> Tensor:
            weight = module.weight if weight is None else weight
            bias = module.bias if bias is None else bias
            return functional.conv2d(
                a, weight, bias, module.stride, module.padding, module.dilation, module.groups
            )

        def rebuilder(name: str, a: Tensor, path: Callable[..., Tensor]) -> Callable[..., Tensor]:
            """z as a function of theta^l alone, with x^ of the earlier BatchNorms held fixed."""
            module = getattr(net, BEFORE[name][0])
            count = 0
            if self.conv_trained:
                count = 1 if module.bias is None else 2

            def rebuild(*front: Tensor) -> Tensor:
                own, affine = front[:count], front[count:]
                weight = own[0] if own else module.weight.detach()
                bias = None if module.bias is None else module.bias.detach()
                if count == 2:
                    bias = own[1]
                inner = path(*affine) if affine else a.detach()
                return conv(module, inner, weight, bias)

            return rebuild

        def affine(name: str, weight: Tensor, bias: Tensor) -> Tensor:
            return hats[name] * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)

        relu = functional.relu
        z = conv(net.stem, images, None, None)
        a0 = relu(normalise("bn0", z, rebuilder("bn0", images, lambda: images)))
        path0 = lambda g, b: relu(affine("bn0", g, b))  # noqa: E731
        z = conv(net.conv1, a0, None, None)
        a1 = relu(normalise("bn1", z, rebuilder("bn1", a0, path0)))
        z = conv(net.conv2, a1, None, None)
        y2 = normalise("bn2", z, rebuilder("bn2", a1, lambda g, b: relu(affine("bn1", g, b))))
        y3 = normalise("bn3", conv(net.down, a0, None, None), rebuilder("bn3", a0, path0))
        a = relu(y2 + y3)
        y4 = normalise(
            "bn4",
            conv(net.conv4, a, None, None),
            rebuilder(
                "bn4",
                a,
                lambda g2, b2, g3, b3: relu(affine("bn2", g2, b2) + affine("bn3", g3, b3)),
            ),
        )
        logits = net.head(functional.hardswish(y4).mean((2, 3)))
        self.jacobian = new_jacobian

        # Eq. 9.
        self.i += 1
        p = logits.softmax(1)
        entropy = -(p * p.log()).sum(1)
        weight = torch.minimum(1 / entropy.detach(), torch.ones_like(entropy))
        r = (math.log(self.S) + math.log(self.i)) / (2 * math.log(self.S))
        (r / self.S * (weight * entropy).mean()).backward()
        self.previous = {id(q): q.detach().clone() for q in self.trained}
        if self.i == self.S:
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.i = 0
        return logits.detach()[::views]
