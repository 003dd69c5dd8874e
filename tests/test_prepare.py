"""From a frame to the network's input, against plain numpy."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edge_tta.errors import ConfigError
from edge_tta.prepare import InputSpec, per_channel, resize

SPECS = {
    "imagenet": InputSpec(8),
    "pixels": InputSpec(8, 1.0, (0.0,) * 3, (1.0,) * 3),
    "by channel": InputSpec(8, 2.0, (1.0, 20.0, 64.0), (0.5, 3.0, 128.0)),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def _frame(height: int, width: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@every_spec
def test_an_image_is_rgb_over_scale_minus_mean_over_std(spec: InputSpec) -> None:
    frame = _frame(8, 8)
    image = spec.prepare(frame)
    assert image.shape == (1, 3, 8, 8)
    assert image.dtype == np.float32
    for c in range(3):
        expected = (frame[:, :, c].astype(float) / spec.scale - spec.mean[c]) / spec.std[c]
        np.testing.assert_allclose(image[0, c], expected, rtol=1e-5, atol=1e-5)


@every_spec
def test_pixels_undoes_normalise(spec: InputSpec) -> None:
    frames = np.stack([_frame(5, 7), _frame(5, 7)[::-1]])
    images = spec.normalise(frames)
    np.testing.assert_allclose(spec.pixels(images), frames.transpose(0, 3, 1, 2), atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(8, 24), (24, 8), (8, 9), (16, 48), (48, 16)])
def test_the_centre_square_is_kept_by_area_averages(height: int, width: int) -> None:
    frame = _frame(height, width)
    factor = min(height, width) // 8
    means = frame[: height // factor * factor, : width // factor * factor].astype(float)
    means = means.reshape(height // factor, factor, width // factor, factor, 3).mean((1, 3))
    top, left = (means.shape[0] - 8) // 2, (means.shape[1] - 8) // 2
    found = resize(frame, 8)
    assert np.abs(found - means[top : top + 8, left : left + 8]).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 7), (7, 3), (123, 457), (9, 8), (8, 8)])
@pytest.mark.parametrize("size", [1, 8, 33])
def test_any_frame_becomes_a_square_of_the_size(shape: tuple[int, int], size: int) -> None:
    plain = np.full((*shape, 3), (10, 100, 250), np.uint8)
    found = resize(plain, size)
    assert found.shape == (size, size, 3)
    assert (found == plain[0, 0]).all()


def test_shapes_are_not_distorted() -> None:
    frame = np.zeros((60, 120, 3), np.uint8)
    frame[20:40, 50:70] = 255  # a square in the centre
    ys, xs = np.nonzero(resize(frame, 30)[..., 0] > 127)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (10, 19, 10, 19)


def test_frames_that_are_views_are_taken_and_not_changed() -> None:
    bgr = _frame(8, 8)
    before, rgb = bgr.copy(), bgr[:, ::-1, ::-1]
    assert np.array_equal(SPECS["pixels"].prepare(rgb), SPECS["pixels"].prepare(rgb.copy()))
    assert np.array_equal(bgr, before)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": 0}, "size must be a whole number from 1 to 8192, got 0"),
        ({"size": 8193}, "from 1 to 8192"),
        ({"size": 32.0}, "whole number"),
        ({"scale": 0}, "scale must be a number above 0"),
        ({"scale": float("inf")}, "scale must be a number above 0"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"std": (1.0, float("nan"), 1.0)}, "must be numbers"),
        ({"mean": (0.0, "red", 0.0)}, "must be numbers"),
        ({"mean": (0.0, 0.0)}, "one value a channel"),
        ({"mean": (), "std": ()}, "one value a channel"),
    ],
)
def test_what_no_network_takes_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        InputSpec(**fields)


def test_one_value_stands_for_all_channels() -> None:
    assert per_channel(2) == per_channel([2.0]) == (2.0, 2.0, 2.0)
    assert per_channel((1, 2, 3)) == (1.0, 2.0, 3.0)
    assert per_channel(5, channels=1) == (5.0,)
    for wrong in ([], [1, 2], [1, 2, 3, 4]):
        with pytest.raises(ConfigError, match="expected 1 or 3 values"):
            per_channel(wrong)


@pytest.mark.parametrize("shape", [(1, 60_000, 3), (60_000, 1, 3), (3, 40_000, 3)])
def test_a_line_of_pixels_is_cut_before_it_is_enlarged(shape: tuple[int, ...]) -> None:
    """60,000 pixels in a row, enlarged as a whole to 224 rows, would take 9 GB."""
    frame = np.zeros(shape, np.uint8)
    middle = tuple(slice(n // 2 - 1, n // 2 + 2) if n > 3 else slice(None) for n in shape[:2])
    frame[middle] = 200
    found = resize(frame, 224)
    assert found.shape == (224, 224, 3)
    assert found[112, 112, 0] == 200
    assert found.base is None or found.base.nbytes < 224 * 224 * 3 * 10


def test_pictures_of_ordinary_shape_are_resized_whole() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (30, 8 * 30, 3)).astype(np.uint8)
    whole = cv2.resize(frame, (8 * 40, 40), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize(frame, 40), whole[:, 140:180])
