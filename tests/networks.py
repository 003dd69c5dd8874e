"""Small networks whose BatchNorms stand in every kind of place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def with_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with random but sensible weights, affine parameters and running statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(
                    torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5
                )
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                shape = (module.num_features,)
                if module.running_mean is not None and module.running_var is not None:
                    module.running_mean.copy_(torch.randn(shape, generator=generator) * 0.2)
                    module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
                if module.affine:
                    module.weight.copy_(torch.rand(shape, generator=generator) + 0.5)
                    module.bias.copy_(torch.randn(shape, generator=generator) * 0.3)
    return model.eval()


class Plain(nn.Module):
    """Convolutions, one with a bias, one strided; a linear layer with BatchNorm1d."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=True)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 7)
        self.bn3 = nn.BatchNorm1d(7)
        self.head = nn.Linear(7, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.fc(x.mean((2, 3))))
        return self.head(functional.relu(x))


class Residual(nn.Module):
    """A residual block with a downsampling branch, a grouped and a dilated convolution."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=2, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=2, dilation=2, bias=True)
        self.bn2 = nn.BatchNorm2d(12)
        self.down = nn.Conv2d(8, 12, 1, stride=2, bias=False)
        self.bn3 = nn.BatchNorm2d(12)
        self.conv4 = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.bn4 = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn0(self.stem(x)))
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.bn3(self.down(x))
        y = functional.hardswish(self.bn4(self.conv4(functional.relu(y))))
        return self.head(y.mean((2, 3)))


class PreActivation(nn.Module):
    """BatchNorm before the convolution and after an addition, in-place activations, a pool."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(6, 6, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        x = x + self.conv1(self.act(self.bn1(x)))
        x = self.act(self.bn2(x))
        return self.head(self.drop(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)))


class UsedTwice(nn.Module):
    """One BatchNorm, called at two places."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn(self.conv1(x)))
        x = functional.relu(self.bn(self.conv2(x)))
        return self.head(x.mean((2, 3)))


class Concatenating(nn.Module):
    """Branches that are concatenated in front of a BatchNorm, and a squeeze-excite gate."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.conv3 = nn.Conv2d(8, 6, 1)
        self.bn2 = nn.BatchNorm2d(6, affine=False)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(torch.cat([self.conv1(x), self.conv2(x)], 1))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return self.head(functional.silu(self.bn2(self.conv3(x))).mean((2, 3)))


class OneDimensional(nn.Module):
    """BatchNorm1d over a sequence: the image's rows are its steps."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm1d(6)
        self.conv2 = nn.Conv1d(6, 8, 3, stride=2, padding=2, dilation=2, groups=2)
        self.bn2 = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.bn1(self.conv1(x.mean(3))))
        return self.head(functional.gelu(self.bn2(self.conv2(x))).mean(2))


class Dense(nn.Module):
    """Each layer's BatchNorm takes everything before it, as DenseNet's; a pooled transition."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(6, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(10)
        self.conv2 = nn.Conv2d(10, 4, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(14)
        self.transition = nn.Conv2d(14, 6, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.conv1(functional.relu(self.bn1(x)))], 1)
        x = torch.cat([x, self.conv2(functional.relu(self.bn2(x)))], 1)
        x = functional.avg_pool2d(self.transition(functional.relu(self.bn3(x))), 2)
        return self.head(functional.relu(self.bn4(x)).mean((2, 3)))


class Branching(nn.Module):
    """Branches of GoogLeNet and Inception: pools of stride one, kernels of one row or column."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(6, 4, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.row = nn.Conv2d(6, 4, (1, 5), padding=(0, 2), bias=False)
        self.column = nn.Conv2d(4, 4, (5, 1), padding=(2, 0), bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.conv3 = nn.Conv2d(6, 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4)
        self.head = nn.Linear(12 + 6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn0(self.stem(x)))
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        one = functional.relu(self.bn1(self.conv1(x)))
        two = functional.relu(self.bn2(self.column(self.row(x))))
        three = functional.relu(self.bn3(self.conv3(functional.max_pool2d(x, 3, 1, 1))))
        x = torch.cat([one, two, three, functional.avg_pool2d(x, 3, 1, 1)], 1)
        return self.head(functional.dropout(x, 0.2, self.training).mean((2, 3)))


NETWORKS: dict[str, type[nn.Module]] = {
    "plain": Plain,
    "residual": Residual,
    "pre-activation": PreActivation,
    "used-twice": UsedTwice,
    "concatenating": Concatenating,
    "one-dimensional": OneDimensional,
    "dense": Dense,
    "branching": Branching,
}


def network(name: str, seed: int = 0) -> nn.Module:
    """A named network with sensible random weights."""
    torch.manual_seed(seed)
    return with_statistics(NETWORKS[name](), seed)


def frozen(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The model as `capture` wants it."""
    return model.to(dtype).eval().requires_grad_(False)
