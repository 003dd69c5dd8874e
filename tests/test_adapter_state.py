"""Saving and loading: a saved state continues exactly, and stays small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edge_tta.adapter import Adapter
from edge_tta.errors import StateError
from tests.adapters import CASES, WINDOW, adapter, assert_same, stream
from tests.networks import with_statistics

pytestmark = pytest.mark.usefixtures("reachable_margins")
every_case = pytest.mark.parametrize("case", CASES)


@every_case
@pytest.mark.parametrize(
    "at", [1, WINDOW, WINDOW + 2], ids=["first step", "after an update", "inside a window"]
)
def test_saved_and_loaded_continues_as_if_uninterrupted_to_the_bit(
    case: str, at: int, tmp_path: Path
) -> None:
    file = tmp_path / "state.safetensors"
    images = stream(2 * WINDOW + 2)
    whole, first = adapter(case, "residual"), adapter(case, "residual")
    fresh, used = adapter(case, "residual"), adapter(case, "residual")
    for batch in images[:at]:
        whole(batch), first(batch)
    first.save(file)
    for batch in stream(WINDOW, seed=7):
        used(batch)
    fresh.load(file)
    used.load(file)
    for batch in images[at:]:
        expected = whole(batch)
        assert torch.equal(fresh(batch), expected)
        assert torch.equal(used(batch), expected)
    for loaded in (fresh, used):
        assert_same(loaded.state, whole.state)
        for counter in ("steps", "updates", "position"):
            assert getattr(loaded, counter) == getattr(whole, counter)


@every_case
def test_saving_changes_neither_state_nor_course(case: str, tmp_path: Path) -> None:
    saving, quiet = adapter(case), adapter(case)
    for images in stream(WINDOW + 1):
        assert torch.equal(saving(images), quiet(images))
        saving.save(tmp_path / "state.safetensors")
    assert_same(saving.state, quiet.state)


def _used_and_loaded(case: str, path: Path) -> tuple[Adapter, Adapter]:
    """An adapter after an update and a step, and a fresh one with its state."""
    first, loaded = adapter(case), adapter(case)
    for images in stream(WINDOW + 1):
        first(images)
    first.save(path)
    loaded.load(path)
    return first, loaded


@pytest.mark.parametrize("case", ["norm", "nanoadapt:tent/edge", "nanoadapt:tent/paper"])
def test_folded_has_a_loaded_state_before_the_first_image(case: str, tmp_path: Path) -> None:
    """Who loads a state and exports it at once must not get the source network."""
    first, loaded = _used_and_loaded(case, tmp_path / "state")
    images = stream(1, seed=3)[0]
    torch.testing.assert_close(loaded.folded()(images), first.folded()(images))


def test_counters_tell_of_a_loaded_state_before_the_first_image(tmp_path: Path) -> None:
    _, loaded = _used_and_loaded("nanoadapt:tent/edge", tmp_path / "state")
    assert (loaded.steps, loaded.updates, loaded.position) == (WINDOW + 1, 1, 1)


def test_a_loaded_state_may_be_saved_again_before_the_first_image(tmp_path: Path) -> None:
    first, loaded = adapter("norm"), adapter("norm")
    first(stream(1)[0])
    first.save(tmp_path / "state")
    loaded.load(tmp_path / "state")
    loaded.save(tmp_path / "again")
    again = adapter("norm")
    again.load(tmp_path / "again")
    again(stream(1)[0]), first(stream(1)[0])
    assert_same(again.state, first.state)


def test_a_state_survives_a_change_of_image_size(tmp_path: Path) -> None:
    first, loaded = _used_and_loaded("nanoadapt:tent/paper", tmp_path / "state")
    larger = stream(1, size=10)[0]
    assert torch.equal(loaded(larger), first(larger))


def test_reset_forgets_a_state_that_was_just_loaded(tmp_path: Path) -> None:
    first, loaded = adapter("norm"), adapter("norm")
    images = stream(1)[0]
    first(images)
    first.save(tmp_path / "state")
    loaded.load(tmp_path / "state")
    loaded.reset()
    loaded(images)
    assert loaded.steps == 1


def test_saving_before_the_first_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nothing to save yet"):
        adapter("norm").save(tmp_path / "state")
    assert not list(tmp_path.iterdir())


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


def test_the_file_of_a_resnet20_size_network_is_small(tmp_path: Path) -> None:
    """688 BatchNorm channels: 2 statistics and 2 x 4 trained values each, in 4 bytes.

    The running Jacobians of Eq. 8 are four matrices (C_out, C_in) a BatchNorm: 4/9 of the 3x3
    convolutions' size.
    """
    sizes = [16] * 7 + [32] * 6 + [64] * 6
    blocks = [
        Block(sizes[2 * i], sizes[2 * i + 1], 1 + (sizes[2 * i] != sizes[2 * i + 1]))
        for i in range(9)
    ]
    stem = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    sizes = {}
    for preset in ("edge", "paper"):
        adapting = Adapter(with_statistics(model), preset=preset)
        adapting(torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
        adapting.save(tmp_path / preset)
        sizes[preset] = (tmp_path / preset).stat().st_size
    assert sizes["edge"] < 4 * 688 * 10 + 16_384
    assert sizes["edge"] < weights / 20
    assert sizes["paper"] < 4 / 9 * weights + 4 * 688 * 12 + 16_384
    assert sizes["paper"] < 600_000
