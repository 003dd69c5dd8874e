"""Views of frames: the frame first, then as many different augmentations of it."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tta.prepare import Channels, Images, InputSpec
from edge_tta.views import MAX_VIEWS, make_views

SPECS = {
    "imagenet": InputSpec(16),
    "pixels": InputSpec(16, 1.0, (0.0,) * 3, (1.0,) * 3),
    "centred": InputSpec(16, 1.0, (128.0,) * 3, (64.0, 128.0, 32.0)),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def _frames(n: int = 2, channels: int = 3) -> np.ndarray:  # type: ignore[type-arg]
    """Uint8 frames with a colour gradient and noise: no augmentation leaves them alike."""
    rng = np.random.default_rng(n)
    ramp = np.linspace(0, 200, 16)[None, None, :, None] * np.linspace(0.2, 1, channels)
    return (ramp + rng.integers(0, 56, (n, 16, 16, channels))).astype(np.uint8)


def _views(frames: np.ndarray, count: int, spec: InputSpec, seed: int = 0) -> Images:  # type: ignore[type-arg]
    """(n, 1 + count, C, H, W)."""
    images = spec.normalise(frames)
    views = make_views(images, count, spec, np.random.default_rng(seed))
    assert views.dtype == np.float32
    return views.reshape(len(images), 1 + count, *images.shape[1:])


@every_spec
@pytest.mark.parametrize("count", range(MAX_VIEWS + 1))
@pytest.mark.parametrize("n", [1, 3])
def test_each_frame_stands_first_among_its_views_to_the_bit(
    spec: InputSpec, count: int, n: int
) -> None:
    frames = _frames(n)
    images = spec.normalise(frames)
    before = images.copy()
    views = make_views(images, count, spec, np.random.default_rng(0))
    assert views.shape == (n * (1 + count), 3, 16, 16)
    assert np.array_equal(views[:: 1 + count], before)
    assert np.array_equal(images, before)


def _kind(frame: Images, view: Images) -> str:
    """Which augmentation made a view (C, H, W) in 0..255, by what it did to the pixels."""
    if np.allclose(view, frame[:, :, ::-1], atol=0.05):
        return "flip"
    if np.allclose(view, view[:1], atol=0.05):
        return "grayscale"
    luma = np.array([0.299, 0.587, 0.114]).reshape(3, 1, 1)
    if np.abs((luma * (view - frame)).sum(0)).max() < 0.01:
        return "saturation"
    return "geometry"


@every_spec
def test_five_views_are_the_five_augmentations_once_each(spec: InputSpec) -> None:
    frames = _frames(4) // 2 + 64  # so that no colour is cut at 0 or 255
    for seed in range(5):
        views = _views(frames, MAX_VIEWS, spec, seed)
        for of_frame in views:
            frame, *others = spec.pixels(of_frame)
            kinds = sorted(_kind(frame, view) for view in others)
            assert kinds == ["flip", "geometry", "geometry", "grayscale", "saturation"]


@pytest.mark.parametrize("count", range(2, MAX_VIEWS + 1))
def test_views_of_a_frame_differ_from_it_and_from_each_other(count: int) -> None:
    for seed in range(10):
        for of_frame in _views(_frames(3), count, SPECS["imagenet"], seed):
            gaps = [np.abs(a - b).max() for i, a in enumerate(of_frame) for b in of_frame[:i]]
            assert min(gaps) > 1e-3


def test_a_random_state_says_which_views_and_another_says_others() -> None:
    spec, frames = SPECS["imagenet"], _frames()
    assert np.array_equal(_views(frames, 3, spec, 1), _views(frames, 3, spec, 1))
    assert not np.array_equal(_views(frames, 3, spec, 1), _views(frames, 3, spec, 2))


def test_equal_frames_of_a_batch_get_views_of_their_own() -> None:
    first, second = _views(np.repeat(_frames(1), 2, 0), 3, SPECS["imagenet"])
    assert not np.array_equal(first, second)


@every_spec
def test_views_stay_within_the_range_of_pixels(spec: InputSpec) -> None:
    frames = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (2, 16, 16, 3))
    for seed in range(10):
        pixels = spec.pixels(_views(frames, MAX_VIEWS, spec, seed)[:, 1:].reshape(-1, 3, 16, 16))
        assert pixels.min() > -0.05
        assert pixels.max() < 255.05


@every_spec
def test_normalisation_does_not_change_what_a_view_shows(spec: InputSpec) -> None:
    plain = SPECS["pixels"]
    shown = spec.pixels(_views(_frames(), 5, spec).reshape(-1, 3, 16, 16))
    np.testing.assert_allclose(shown, _views(_frames(), 5, plain).reshape(shown.shape), atol=0.05)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels_get_views_by_geometry(channels: int) -> None:
    order = Channels.GRAY if channels == 1 else Channels.RGB
    spec = InputSpec(16, mean=(0.5,) * channels, std=(0.25,) * channels, channels=order)
    for of_frame in _views(_frames(2, channels), 3, spec):
        assert of_frame.shape == (4, channels, 16, 16)
        gaps = [np.abs(a - b).max() for i, a in enumerate(of_frame) for b in of_frame[:i]]
        assert min(gaps) > 1e-3


def test_the_views_of_a_bgr_network_are_those_of_an_rgb_one_with_its_channels_turned() -> None:
    rgb = InputSpec(16, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
    bgr = rgb.changed(channels="bgr")
    frames = _frames()
    expected = _views(frames, 5, rgb)
    turned = _views(frames, 5, bgr)[:, :, ::-1]
    np.testing.assert_allclose(turned, expected, rtol=0, atol=1e-5)


def test_views_of_images_that_are_not_square_keep_their_shape() -> None:
    spec = InputSpec((12, 20))
    images = spec.normalise(np.random.default_rng(0).integers(0, 256, (2, 12, 20, 3), np.uint8))
    views = make_views(images, 5, spec, np.random.default_rng(0))
    assert views.shape == (12, 3, 12, 20)
