"""What an adapter takes and refuses; a refusal leaves it as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_tta.adapter import Adapter
from edge_tta.errors import ConfigError, ModelError
from tests.adapters import CASES, WINDOW, adapter, assert_same, is_finite, stream
from tests.networks import network

pytestmark = pytest.mark.usefixtures("reachable_margins")
every_case = pytest.mark.parametrize("case", CASES)
LEARNING = "nanoadapt:tent/paper"


@every_case
@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_images_that_are_not_finite_are_refused_and_leave_no_trace(case: str, value: float) -> None:
    adapting, untouched = adapter(case), adapter(case)
    first, bad, after = stream(3)
    adapting(first), untouched(first)
    bad[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        adapting(bad)
    assert torch.equal(adapting(after), untouched(after))
    assert_same(adapting.state, untouched.state)


@pytest.mark.parametrize(
    "shape", [(3, 8, 8), (8,), (), (2, 3, 8), (1, 2, 3, 8, 8), (0, 3, 8, 8), (0,)], ids=str
)
def test_another_number_of_axes_or_no_image_is_refused(shape: tuple[int, ...]) -> None:
    adapting = adapter(LEARNING)
    with pytest.raises(ValueError, match=r"must be \(N, channels, H, W\)"):
        adapting(torch.zeros(shape))
    adapting(stream(1)[0])
    before = adapting.state
    with pytest.raises(ValueError, match=r"must be \(N, channels, H, W\)"):
        adapting(torch.zeros(shape))
    assert_same(adapting.state, before)
    assert adapting.steps == 1


def test_another_number_of_channels_is_refused_and_leaves_no_trace() -> None:
    adapting, untouched = adapter(LEARNING), adapter(LEARNING)
    first, after = stream(2)
    adapting(first), untouched(first)
    with pytest.raises(ModelError, match="cannot take images of shape"):
        adapting(torch.zeros(1, 4, 8, 8))
    assert torch.equal(adapting(after), untouched(after))
    assert_same(adapting.state, untouched.state)


@every_case
def test_uint8_and_float64_arrays_equal_the_same_float32_images(case: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)
    wanted = adapter(case)(torch.from_numpy(pixels.astype(np.float32)))
    for images in (pixels, torch.from_numpy(pixels), pixels.astype(np.float64)):
        assert torch.equal(adapter(case)(images), wanted)  # type: ignore[arg-type]


def _read_only(images: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    array = images.numpy().copy()
    array.flags.writeable = False
    return array


def _reversed_twice(images: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    """A view with negative strides, as `bgr[:, ::-1]` makes."""
    return images.numpy()[:, ::-1].copy()[:, ::-1]


@pytest.mark.parametrize(
    "form",
    [
        lambda images: images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2),
        lambda images: images.contiguous(memory_format=torch.channels_last),
        lambda images: images.clone().requires_grad_(),
        _read_only,
        _reversed_twice,
    ],
    ids=["transposed", "channels-last", "requires-grad", "read-only", "negative-strides"],
)
@pytest.mark.parametrize("case", ["norm", "tent", LEARNING])
def test_memory_layout_and_flags_of_the_images_do_not_matter(case: str, form) -> None:  # type: ignore[no-untyped-def]
    adapting, wanted = adapter(case), adapter(case)
    for images in stream(2):
        given = form(images)
        logits = adapting(given)
        assert not logits.requires_grad
        torch.testing.assert_close(logits, wanted(images), rtol=1e-4, atol=1e-5)


@every_case
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_adaptation_works_where_the_caller_switched_gradients_off(case: str, mode) -> None:  # type: ignore[no-untyped-def]
    adapting, wanted = adapter(case), adapter(case)
    for images in stream(3):
        with mode():
            logits = adapting(images.clone())
        assert torch.equal(logits, wanted(images))
    assert_same(adapting.state, wanted.state)


@every_case
@pytest.mark.parametrize(("net", "size", "scale"), [("used-twice", 8, 1e30), ("plain", 1, 1e20)])
def test_images_that_overflow_the_network_do_not_spoil_the_state(
    case: str, net: str, size: int, scale: float
) -> None:
    """They are finite, and their statistics are not: such a batch counts for nothing."""
    adapting = adapter(case, net)
    first, large, *after = stream(WINDOW + 2, n=1, size=size)
    adapting(first)
    adapting((large * 0.01 + 1) * scale)
    for images in after:
        logits = adapting(images)
    assert is_finite(adapting.state)
    assert bool(torch.isfinite(logits).all())


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:x", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="expected cpu, cuda or cuda:N"):
        Adapter(network("plain"), device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_cuda_without_a_device_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="use --device cpu"):
        Adapter(network("plain"), device="cuda")
