"""Every method as an adapter: what `config` lists is tested without being named here."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from edge_tta.adapter import Adapter
from edge_tta.config import HOSTS, METHODS, PRESETS
from edge_tta.method.state import State
from edge_tta.network.source import SourceNetwork
from tests.networks import network

# "method", or "nanoadapt:host/preset".
CASES = [method for method in METHODS if method != "nanoadapt"] + [
    f"nanoadapt:{host}/{preset}" for host in HOSTS for preset in PRESETS
]
# The networks here are unsure: with the published share of ln C, and the preset's, of an image's
# entropy most would be left out. So some are.
RELIABLE_BELOW = 0.98
# S of NanoAdapt in these tests: a dozen steps hold several updates.
WINDOW = 4


@functools.cache
def shared(net: str) -> SourceNetwork:
    """A named network, captured once for all its adapters."""
    return SourceNetwork(network(net), torch.device("cpu"))


def adapter(case: str, net: str = "used-twice", **options: Any) -> Adapter:
    """A fresh adapter of a case on a named network."""
    method, _, preset = case.partition("/")
    if method.startswith("nanoadapt"):
        options = {"accumulation": WINDOW, **options}
        if preset == "edge":
            options = {"reliable_below": RELIABLE_BELOW, **options}
    return Adapter(shared(net), method, preset=preset or "edge", **options)


def stream(count: int, n: int = 2, size: int = 8, seed: int = 0) -> list[Tensor]:
    """Batches (n, 3, size, size) whose brightness and contrast drift away from the source."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn((n, 3, size, size), generator=generator) * (1 + t / count) + t / count
        for t in range(count)
    ]


def assert_same(state: State, expected: State) -> None:
    """Assert that two states are equal to the bit."""
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


def is_finite(state: State) -> bool:
    """Return True where no value of a state is NaN or infinite."""
    return all(bool(torch.isfinite(value).all()) for value in state.values())
