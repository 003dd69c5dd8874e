"""What stands in front of each BatchNorm: its linear map, and the BatchNorms before that."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_tta.network.capture import capture
from edge_tta.network.kernels import Kernels
from edge_tta.network.program import AsTrained, LinearMap, Site, Statistics, Watched
from tests.networks import NETWORKS, frozen, network

# Site -> (weight of its linear map, earlier sites whose output reaches that channel by channel).
EXPECTED: dict[str, list[tuple[str | None, list[int]]]] = {
    "plain": [("conv1.weight", []), ("conv2.weight", [0]), ("fc.weight", [1])],
    "residual": [
        ("stem.weight", []),
        ("conv1.weight", [0]),
        ("conv2.weight", [1]),
        ("down.weight", [0]),
        ("conv4.weight", [2, 3]),  # both operands of the addition
    ],
    "pre-activation": [(None, []), (None, [])],  # a pool and a sum stand in front
    "used-twice": [("conv1.weight", []), ("conv2.weight", [0])],
    "concatenating": [(None, []), ("conv3.weight", [])],  # a concatenation, and a gate before
    "one-dimensional": [("conv1.weight", []), ("conv2.weight", [0])],
    "dense": [("stem.weight", []), (None, []), (None, []), (None, [])],  # concatenations, a pool
    "branching": [
        ("stem.weight", []),
        ("conv1.weight", [0]),
        ("column.weight", []),  # a convolution without BatchNorm before
        ("conv3.weight", [0]),
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_linear_map_and_the_batchnorms_before_it_are_found(name: str) -> None:
    program = capture(frozen(network(name)), (3, 12, 12))
    predecessors = [
        (site.linear.weight if site.linear else None, sorted(path.source for path in site.paths))
        for site in program.sites
    ]
    assert predecessors == EXPECTED[name]


def test_options_of_the_convolutions_are_kept() -> None:
    program = capture(frozen(network("residual")), (3, 12, 12))
    linear = {site.layer.name: site.linear for site in program.sites}
    assert linear["bn1"] == LinearMap("conv1.weight", None, (2, 2), (1, 1), (1, 1), 2)
    assert linear["bn2"] == LinearMap("conv2.weight", "conv2.bias", (1, 1), (2, 2), (2, 2), 1)
    assert linear["bn4"] == LinearMap("conv4.weight", None, (1, 1), (1, 1), (1, 1), 12)
    program = capture(frozen(network("plain")), (3, 12, 12))
    assert program.sites[2].linear == LinearMap("fc.weight", "fc.bias", (), (), (), 1)


class Watcher(AsTrained):
    """Recomputes each BatchNorm's input from what the program says stands in front of it."""

    maps = paths = 0

    def statistics(
        self, site: Site, z: Tensor, watched: Watched | None, kernels: Kernels
    ) -> Statistics:
        assert (site.linear is None) == (watched is None)
        if site.linear is not None and watched is not None:
            self.maps += 1
            torch.testing.assert_close(self._mapped(site.linear, watched.a), z)
            for path, (_, y, others) in zip(site.paths, watched.paths, strict=True):
                self.paths += 1
                torch.testing.assert_close(path.module(y, *others), watched.a)
        return super().statistics(site, z, watched, kernels)

    def _mapped(self, linear: LinearMap, a: Tensor) -> Tensor:
        weight = self.parameter(linear.weight)
        bias = self.parameter(linear.bias) if linear.bias else None
        if not linear.stride:
            return functional.linear(a, weight, bias)
        convolve = {1: functional.conv1d, 2: functional.conv2d}[len(linear.stride)]
        options = linear.stride, linear.padding, linear.dilation, linear.groups
        return convolve(a, weight, bias, *options)


@pytest.mark.parametrize("name", NETWORKS)
def test_map_and_paths_compute_the_input_of_their_batchnorm(name: str) -> None:
    program = capture(frozen(network(name)), (3, 12, 12))
    watcher = Watcher(program)
    program.run(torch.randn(3, 3, 12, 12), watcher, watch=True)
    assert watcher.maps == sum(weight is not None for weight, _ in EXPECTED[name])
    assert watcher.paths == sum(len(before) for _, before in EXPECTED[name])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize(
    ("padding", "kernel", "expected"),
    [("valid", 3, (0, 0)), ("same", 3, (1, 1)), ("same", 5, (2, 2)), ("same", 4, None)],
)
def test_padding_by_name_is_a_number_unless_it_is_asymmetric(
    padding: str, kernel: int, expected: tuple[int, int] | None
) -> None:
    convolution = nn.Conv2d(3, 4, kernel, padding=padding)
    layers = [convolution, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    (site,) = capture(frozen(nn.Sequential(*layers)), (3, 9, 9)).sites
    assert (site.linear.padding if site.linear else None) == expected
