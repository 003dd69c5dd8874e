"""Weather: plasma against a plain diamond-square, brightness against HSV, frost against a sum."""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.corruptions import corrupt, load_frost_textures
from bench.corruptions.frost import CIFAR_SCALE, PANES, drawn_textures
from bench.corruptions.tables import TableName
from bench.corruptions.weather import plasma
from edge_tta.errors import SourceError
from tests.corruptions.oracles import plain_plasma
from tests.corruptions.scenes import scenes

FOG = {"cifar": (0.2, 0.5, 0.75, 1.0, 1.5), "imagenet": (1.5, 2.0, 2.5, 2.5, 3.0)}
GAIN = {"cifar": (0.05, 0.1, 0.15, 0.2, 0.3), "imagenet": (0.1, 0.2, 0.3, 0.4, 0.5)}
FROST = {
    "cifar": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "imagenet": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
}

every_cell = pytest.mark.parametrize(
    ("table", "severity"), [(table, severity) for table in FOG for severity in range(1, 6)]
)


@pytest.mark.parametrize(("side", "decay"), [(2, 2.0), (8, 1.4), (32, 3.0)])
def test_plasma_equals_diamond_square_point_by_point(side: int, decay: float) -> None:
    maps = plasma(side, decay, [np.random.default_rng(seed) for seed in range(3)])
    for seed, height in enumerate(maps):
        expected = plain_plasma(side, decay, np.random.default_rng(seed))
        assert height == pytest.approx(expected, abs=1e-12)


def test_plasma_is_smoother_with_larger_decay_and_joins_at_its_edges() -> None:
    steps = []
    for decay in (1.2, 2.0, 3.0):
        height = plasma(64, decay, [np.random.default_rng(seed) for seed in range(20)])
        steps.append(np.abs(np.diff(height, axis=1)).mean())
        seam = np.abs(height[:, 0] - height[:, -1]).mean()
        assert seam < 2 * steps[-1]
    assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize("side", [0, 1, 24])
def test_plasma_refuses_sides_that_are_no_power_of_two(side: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        plasma(side, 2.0, [np.random.default_rng(0)])


@every_cell
def test_fog_on_grey_spans_what_its_density_allows(table: TableName, severity: int) -> None:
    grey, density = 128 / 255, FOG[table][severity - 1]
    flat = np.full((8, 32, 32, 3), 128, np.uint8)
    foggy = corrupt(flat, "fog", severity, 0, table=table).astype(float)
    # (x + density p) x / (x + density) with p over the whole of [0, 1] in each image.
    darkest = 255 * grey * grey / (grey + density)
    assert foggy.min(axis=(1, 2, 3)) == pytest.approx(np.full(8, darkest), abs=1.0)
    assert foggy.max(axis=(1, 2, 3)) == pytest.approx(np.full(8, 128.0), abs=1.0)
    assert np.ptp(foggy, axis=3).max() == 0


@every_cell
def test_brightness_adds_to_the_value_of_hsv(table: TableName, severity: int) -> None:
    clean = scenes(1, 32, seed=4)
    clean[0, 0] = [[0, 0, 0], [255, 0, 0], [10, 200, 30], [255, 255, 255]] * 8
    bright = corrupt(clean, "brightness", severity, 0, table=table)
    for row, column in np.ndindex(8, 32):
        hue, saturation, value = colorsys.rgb_to_hsv(*(clean[0, row, column] / 255.0))
        value = min(value + GAIN[table][severity - 1], 1.0)
        expected = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
        assert (bright[0, row, column] <= expected + 1e-6).all()
        assert (bright[0, row, column] > expected - 1 - 1e-6).all()


@every_cell
def test_frost_is_the_weighted_sum_of_picture_and_texture(table: TableName, severity: int) -> None:
    clean = scenes(2, 32)
    texture = np.full((700, 700, 3), (60, 90, 120), np.uint8)
    picture_weight, texture_weight = FROST[table][severity - 1]
    frosted = corrupt(clean, "frost", severity, 0, table=table, frost_textures=[texture])
    exact = picture_weight * clean.astype(float) + texture_weight * texture[0, 0]
    assert np.array_equal(frosted, np.minimum(exact, 255.0).astype(np.uint8))


def test_frost_crops_differ_between_images_and_small_textures_are_enlarged() -> None:
    black = np.zeros((6, 224, 224, 3), np.uint8)
    drawn = corrupt(black, "frost", 5, 0)
    assert len({image.tobytes() for image in drawn}) == 6
    texture = scenes(1, 40)[0]
    assert corrupt(black, "frost", 5, 0, frost_textures=[texture]).std() > 10


def test_frost_textures_are_read_from_a_folder(tmp_path: Path) -> None:
    red = np.zeros((300, 300, 3), np.uint8)
    red[..., 0] = 200
    cv2.imwrite(str(tmp_path / "pane.png"), red[..., ::-1])
    (tmp_path / "notes.txt").write_text("not a picture")
    assert np.array_equal(load_frost_textures(tmp_path)[0], red)
    black = np.zeros((224, 224, 3), np.uint8)
    frosted = corrupt(black, "frost", 1, 0, frost_textures=tmp_path)
    assert np.unique(frosted[..., 0]).tolist() == [80]
    assert np.array_equal(frosted, corrupt(black, "frost", 1, 0, frost_textures=str(tmp_path)))


def test_folder_without_textures_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no frost textures in .* give another folder"):
        corrupt(scenes(1, 32), "frost", 1, 0, frost_textures=tmp_path)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"broken\.png is not a readable picture"):
        load_frost_textures(tmp_path)


@pytest.mark.parametrize(
    ("textures", "message"),
    [([], "at least one texture"), ([np.zeros((300, 300), np.uint8)], r"got uint8 \(300, 300\)")],
)
def test_bad_textures_are_refused(textures: list[NDArray[np.uint8]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corrupt(scenes(1, 32), "frost", 1, 0, frost_textures=textures)


@pytest.mark.parametrize("scale", [1.0, CIFAR_SCALE])
def test_drawn_textures_have_the_look_of_their_panes(scale: float) -> None:
    side = 224 if scale == 1.0 else 32
    for pane, texture in zip(PANES, drawn_textures(side, side, scale), strict=True):
        assert min(texture.shape[:2]) > side
        assert texture.mean(axis=(0, 1)) == pytest.approx(pane.tint, abs=4)
        assert texture.mean(axis=2).std() == pytest.approx(pane.contrast, rel=0.1)
        assert pane.tint[2] > pane.tint[1] > pane.tint[0], "ice is blue"


@pytest.mark.parametrize("table", ["cifar", "imagenet"])
def test_snow_whitens_and_brightens_more_with_severity(table: TableName) -> None:
    clean = scenes(8, 32 if table == "cifar" else 224)
    means = [corrupt(clean, "snow", severity, 0).mean() for severity in (1, 2, 4, 5)]
    assert means == sorted(means)
    assert means[0] > clean.mean()
    colour = np.ptp(clean, axis=3).mean()
    assert np.ptp(corrupt(clean, "snow", 5, 0), axis=3).mean() < 0.9 * colour


def test_snow_layer_is_its_own_half_turn() -> None:
    # Black stays 0.5 of its whitened self times the weight, plus the layer and its half turn.
    snowy = corrupt(np.zeros((4, 224, 224, 3), np.uint8), "snow", 2, 0)
    assert np.array_equal(snowy, snowy[:, ::-1, ::-1])
    assert snowy.min() == int(255 * 0.3 * 0.5)
    assert np.ptp(snowy, axis=3).max() == 0
