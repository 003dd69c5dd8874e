"""From a frame to the network's input, against plain numpy."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edge_tta.errors import ConfigError
from edge_tta.prepare import IMAGENET_MEAN, Channels, InputSpec, parse_size, per_channel, resize

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
    resized = resize(frame, 8)
    assert np.abs(resized - means[top : top + 8, left : left + 8]).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 7), (7, 3), (123, 457), (9, 8), (8, 8)])
@pytest.mark.parametrize("size", [1, 8, 33])
def test_any_frame_becomes_a_square_of_the_size(shape: tuple[int, int], size: int) -> None:
    plain = np.full((*shape, 3), (10, 100, 250), np.uint8)
    resized = resize(plain, size)
    assert resized.shape == (size, size, 3)
    assert (resized == plain[0, 0]).all()


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
        ({"size": 0}, "size must be a whole number from 1 to 8192, or two, as HxW, got 0"),
        ({"size": (32, 0)}, r"from 1 to 8192, or two, as HxW, got \(32, 0\)"),
        ({"size": (1, 2, 3)}, "as HxW"),
        ({"size": True}, "as HxW"),
        ({"size": 8193}, "from 1 to 8192"),
        ({"size": 32.0}, "whole number"),
        ({"scale": 0}, "scale must be a number above 0"),
        ({"scale": float("inf")}, "scale must be a number above 0"),
        ({"scale": 1e-320}, "scale must be a number above 0"),
        ({"std": (1e-60,)}, "std above 0"),
        ({"mean": (1e39,)}, "must be numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"std": (1.0, float("nan"), 1.0)}, "must be numbers"),
        ({"mean": (0.0, "red", 0.0)}, "must be numbers"),
        ({"mean": (0.0, 0.0)}, "one value a channel"),
        ({"mean": (0.0,) * 3, "std": (1.0,), "channels": Channels.GRAY}, "one value a channel"),
    ],
)
def test_what_no_network_takes_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        InputSpec(**fields)


def test_one_value_stands_for_all_channels() -> None:
    assert per_channel(2) == per_channel([2.0]) == (2.0, 2.0, 2.0)
    assert per_channel((1, 2, 3)) == (1.0, 2.0, 3.0)
    assert per_channel(5, channels=1) == (5.0,)
    with pytest.raises(ConfigError, match="expected 1 value, one a channel, got 3"):
        per_channel((1, 2, 3), channels=1)
    for wrong in ([], [1, 2], [1, 2, 3, 4]):
        with pytest.raises(ConfigError, match="expected 1 or 3 values"):
            per_channel(wrong)


@pytest.mark.parametrize("shape", [(1, 60_000, 3), (60_000, 1, 3), (3, 40_000, 3)])
def test_a_line_of_pixels_is_cut_before_it_is_enlarged(shape: tuple[int, ...]) -> None:
    """60,000 pixels in a row, enlarged as a whole to 224 rows, would take 9 GB."""
    frame = np.zeros(shape, np.uint8)
    middle = tuple(slice(n // 2 - 1, n // 2 + 2) if n > 3 else slice(None) for n in shape[:2])
    frame[middle] = 200
    resized = resize(frame, 224)
    assert resized.shape == (224, 224, 3)
    assert resized[112, 112, 0] == 200
    assert resized.base is None or resized.base.nbytes < 224 * 224 * 3 * 10


def test_pictures_of_ordinary_shape_are_resized_whole() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (30, 8 * 30, 3)).astype(np.uint8)
    whole = cv2.resize(frame, (8 * 40, 40), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resize(frame, 40), whole[:, 140:180])


@pytest.mark.parametrize(
    ("given", "size"),
    [(8, 8), ("8", 8), ("48x80", (48, 80)), ("48X80", (48, 80)), ([48, 80], (48, 80)), ("9x9", 9)],
)
def test_sizes_are_understood_as_people_write_them(given: Any, size: Any) -> None:
    assert parse_size(given) == size
    assert InputSpec().changed(size=given).size == size


@pytest.mark.parametrize("wrong", ["", "x", "8x", "8x8x3", "-8", "8.0", "1e3", "9" * 5000, "0x8"])
def test_other_sizes_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"^size must be"):
        parse_size(wrong)


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (10, 200), (200, 10)])
@pytest.mark.parametrize("shape", [(60, 60), (240, 320), (7, 500), (500, 7), (48, 80)])
def test_an_input_that_is_not_square_keeps_shapes_undistorted(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    """A ramp's slope per pixel is the same along both axes, and the centre stays the centre."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    ratio = max(size[0] / shape[0], size[1] / shape[1])
    assert resize(np.zeros((*shape, 3), np.uint8), size).shape == (*size, 3)
    for ramp, axis in ((rows, 0), (columns, 1)):
        slope = min(1.0, 200 / ramp.max())
        frame = np.repeat((slope * ramp)[..., None], 3, -1).astype(np.uint8)
        made = resize(frame, size)[..., 0].astype(float)
        middle = made.mean()
        assert abs(middle - frame[..., 0].mean()) < 3
        span = made.max() - made.min()
        assert abs(span - min(slope * size[axis] / ratio, np.ptp(frame))) < 6


def test_gray_is_the_luma_and_bgr_the_channels_turned() -> None:
    frame = _frame(8, 8)
    gray = InputSpec(8, 1.0, (0.0,), (1.0,), Channels.GRAY)
    assert gray.shape == (1, 8, 8)
    luma = frame.astype(float) @ (0.299, 0.587, 0.114)
    np.testing.assert_allclose(gray.prepare(frame)[0, 0], luma, atol=0.51)
    spec = SPECS["by channel"]
    bgr = spec.changed(channels="bgr")
    np.testing.assert_array_equal(bgr.prepare(frame), spec.prepare(frame)[:, ::-1])
    np.testing.assert_allclose(
        bgr.pixels(bgr.prepare(frame))[0], frame.transpose(2, 0, 1)[::-1], atol=1e-3
    )


def test_means_follow_the_channels_unless_they_are_given() -> None:
    assert InputSpec(channels=Channels.BGR).mean == IMAGENET_MEAN[::-1]
    assert InputSpec().changed(channels="gray").mean == pytest.approx((0.449,), abs=1e-3)
    spec = InputSpec(mean=(0.1, 0.2, 0.6), std=(1.0, 2.0, 3.0))
    assert spec.changed(channels="bgr").mean == (0.6, 0.2, 0.1)
    assert spec.changed(channels="bgr", mean=(1, 2, 3)).mean == (1.0, 2.0, 3.0)
    assert spec.changed(channels="gray", std=5).std == (5.0,)
    assert spec.changed(channels="gray").changed(channels="rgb").mean == pytest.approx((0.3,) * 3)
    with pytest.raises(ConfigError, match="expected 1 value"):
        spec.changed(channels="gray", mean=(1, 2, 3))
    with pytest.raises(ConfigError, match="must be one of rgb, bgr, gray, got 'cmyk'"):
        spec.changed(channels="cmyk")


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"size": np.int64(32), "mean": np.array([0.5, 0.4, 0.3]), "std": np.float32(0.25)}
    spec = InputSpec().changed(**given)  # type: ignore[arg-type]
    assert spec == InputSpec(32, 255.0, (0.5, 0.4, 0.3), (0.25,) * 3)
    assert type(spec.size) is int
