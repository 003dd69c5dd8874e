"""Total strides, and what is before the last stage."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.network.capture import capture
from edge_tta.network.resolution import before_last_stage
from tests.networks import frozen, network, with_statistics


def _strides(model: nn.Module, size: int = 16) -> dict[str, int]:
    program = capture(frozen(model), (3, size, size))
    return {site.layer.name: site.stride for site in program.sites}


@pytest.mark.parametrize(
    ("net", "wanted"),
    [
        ("plain", {"bn1": 1, "bn2": 4, "bn3": 4}),
        ("residual", {"bn0": 1, "bn1": 4, "bn2": 4, "bn3": 4, "bn4": 4}),
        ("pre-activation", {"bn1": 4, "bn2": 4}),
        ("concatenating", {"bn1": 1, "bn2": 1}),
        ("one-dimensional", {"bn1": 1, "bn2": 2}),
    ],
)
@pytest.mark.parametrize("size", [16, 5, 1])
def test_total_strides_are_those_of_the_layers_whatever_the_image_s_size(
    net: str, wanted: dict[str, int], size: int
) -> None:
    assert _strides(network(net), size) == wanted


class Sliced(nn.Module):
    """A shortcut without weights, as CIFAR ResNets have; a pool with and one without a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(4)
        self.bn2 = nn.BatchNorm2d(4)
        self.bn3 = nn.BatchNorm2d(4)
        self.bn4 = nn.BatchNorm2d(4)
        self.gate = nn.Conv2d(4, 4, 1)
        self.gate_bn = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))
        x = self.bn2(self.bn1(self.conv(x)) + shortcut)  # 4
        x = x * torch.sigmoid(self.gate_bn(self.gate(x.mean((2, 3), keepdim=True))))
        x = torch.cat([x[:, ::2], x[:, 1::2]], 1)  # of channels: no stride
        x = self.bn3(functional.max_pool2d(x, 2))  # 16
        x = self.bn4(functional.avg_pool2d(x, 3, stride=1, padding=1))
        return self.head(x.mean((2, 3)))


def test_slices_pools_and_gates_are_followed() -> None:
    strides = _strides(with_statistics(Sliced()))
    assert strides == {"bn1": 4, "bn2": 4, "gate_bn": 4, "bn3": 16, "bn4": 16}


def test_the_last_stage_of_a_resnet_is_layer4() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = frozen(torchvision.models.resnet18(weights=None))
    program = capture(model, (3, 64, 64))
    kept = {site.layer.name for site in before_last_stage(program.sites)}
    every = {site.layer.name for site in program.sites}
    assert every - kept == {name for name in every if name.startswith("layer4")}


@pytest.mark.parametrize("net", ["used-twice", "pre-activation", "concatenating"])
def test_a_network_of_one_stage_keeps_all_its_sites(net: str) -> None:
    sites = capture(frozen(network(net)), (3, 8, 8)).sites
    assert before_last_stage(sites) == sites
