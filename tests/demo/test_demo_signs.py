from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_tta.demo.faces import CLASSES, sign_picture
from edge_tta.demo.scenery import make_scenery
from edge_tta.demo.signs import FRAME_SIZE, Light, Pose, compose, render

CleanSet = tuple[NDArray[np.uint8], NDArray[np.int64]]


def test_there_are_twelve_classes_with_names_of_their_own() -> None:
    assert len(set(CLASSES)) == len(CLASSES) == 12


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_a_render_is_an_rgb_frame(label: int) -> None:
    frame = render(np.random.default_rng(label), label)
    assert frame.shape == (FRAME_SIZE, FRAME_SIZE, 3)
    assert frame.dtype == np.uint8


def test_same_seed_gives_same_render() -> None:
    first, second = (render(np.random.default_rng(4), 7) for _ in range(2))
    assert np.array_equal(first, second)


def test_renders_of_one_label_differ() -> None:
    rng = np.random.default_rng(4)
    assert not np.array_equal(render(rng, 7), render(rng, 7))


def test_no_two_classes_look_alike() -> None:
    faces = [sign_picture(label, 128)[0][:128].astype(float) for label in range(len(CLASSES))]
    for label, face in enumerate(faces):
        for other in faces[:label]:
            assert np.abs(face - other).mean() > 2.0


@pytest.mark.parametrize("scale", [0.36, 0.5, 0.74])
def test_scale_is_the_width_of_the_sign_in_frame_widths(scale: float) -> None:
    """A facing disc at the middle; two faces in one place differ only inside the disc."""
    scenery = make_scenery(np.random.default_rng(1))
    pose = Pose(0.5, 0.5, scale)
    labels = CLASSES.index("turn left"), CLASSES.index("no entry")
    one, other = (compose(scenery, pose, Light(), label)[0].astype(int) for label in labels)
    columns = np.flatnonzero(np.abs(one - other).max(axis=(0, 2)) > 12)
    width = (columns[-1] - columns[0] + 1) / FRAME_SIZE
    assert width == pytest.approx(0.94 * scale, abs=0.02)  # the coloured part within its white rim


@pytest.mark.parametrize("label", [-1, 12])
def test_unknown_label_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=r"label must be in 0\.\.11"):
        render(np.random.default_rng(0), label)


def test_scale_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be in"):
        render(np.random.default_rng(0), 0, scale=1.5)


def test_a_clean_set_has_every_class_equally_often(clean: CleanSet) -> None:
    frames, labels = clean
    assert frames.shape == (600, FRAME_SIZE, FRAME_SIZE, 3)
    assert frames.dtype == np.uint8
    assert np.array_equal(np.bincount(labels), np.full(12, 50))


def test_clean_frames_are_neither_black_nor_white(clean: CleanSet) -> None:
    frames = clean[0][:, ::4, ::4]
    brightness = frames.mean(axis=(1, 2, 3))
    assert brightness.min() > 40
    assert brightness.max() < 230
    assert frames.std(axis=(1, 2, 3)).min() > 15
