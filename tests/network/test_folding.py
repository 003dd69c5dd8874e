"""Folding of BatchNorms below a layer, whatever stands in front of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edge_tta.errors import ModelError
from edge_tta.network.capture import capture
from edge_tta.network.folding import first_of
from edge_tta.network.program import AsTrained
from edge_tta.network.sites import BATCH_NORM
from tests.networks import NETWORKS, frozen, network


@pytest.mark.parametrize("net", NETWORKS)
def test_a_folded_program_computes_what_the_network_computes(net: str) -> None:
    model = frozen(network(net), torch.float64)
    layers = [layer.name for layer in capture(model, (3, 9, 9)).layers]
    images = torch.randn((3, 3, 9, 9), dtype=torch.float64)
    for place, name in enumerate(layers):
        program = capture(model, (3, 9, 9), below=name)
        assert [layer.name for layer in program.layers] == layers[place:]
        assert [site.index for site in program.sites] == list(range(len(program.sites)))
        for watch in (False, True):
            outputs = program.run(images, AsTrained(program), watch=watch)
            torch.testing.assert_close(outputs, model(images), atol=1e-9, rtol=1e-9)


def test_a_batch_norm_with_no_convolution_in_front_stays_with_its_constants() -> None:
    program = capture(frozen(network("pre-activation")), (3, 8, 8), below="bn2")
    nodes = [node for node in program.plain.graph.nodes if node.target is BATCH_NORM]
    assert len(nodes) == 1
    folded = capture(frozen(network("plain")), (3, 8, 8), below="bn3")
    assert not [node for node in folded.plain.graph.nodes if node.target is BATCH_NORM]


class _Shared(nn.Module):
    """One convolution in front of two BatchNorms, and a layer that is called early and late."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.one, self.other, self.again = (nn.BatchNorm2d(4) for _ in range(3))
        self.last = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.again(self.one(x) + self.other(x))
        return self.again(self.last(x.relu())).mean((2, 3))


def test_what_others_read_too_is_not_folded_and_a_layer_that_comes_again_adapts() -> None:
    model = frozen(_Shared(), torch.float64)
    program = capture(model, (3, 6, 6), below="last")
    assert [site.layer.name for site in program.sites] == ["again", "last", "again"]
    images = torch.randn((2, 3, 6, 6), dtype=torch.float64)
    torch.testing.assert_close(program.run(images, AsTrained(program)), model(images))


def test_a_layer_that_is_not_there_is_told_with_those_that_are() -> None:
    model = frozen(network("plain"))
    with pytest.raises(ModelError, match=r"no BatchNorm named 'bm2'; .*bn2"):
        capture(model, (3, 8, 8), below="bm2")
    sites = capture(model, (3, 8, 8)).sites
    assert (first_of(sites, ""), first_of(sites, "bn2")) == (0, 1)
