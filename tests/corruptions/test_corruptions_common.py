"""What every corruption keeps to: reproducible, independent of batching, worse with severity."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.corruptions import CORRUPTIONS, GROUPS, TABLES, corrupt
from bench.corruptions.tables import TableName
from tests.corruptions.published import PUBLISHED
from tests.corruptions.scenes import psnr, scenes

DETERMINISTIC = {
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
}
# By their published parameters severities of these do not all differ in strength, or not in the
# error of pixels: the shuffles and warps trade reach for roughness, frost trades the weight of the
# picture for that of textures of any brightness, fog and snow saturate.
UNEVEN = {
    "cifar": {"glass_blur", "elastic_transform", "frost"},
    "imagenet": {"glass_blur", "elastic_transform", "frost", "fog", "snow"},
}

every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)
both_tables = pytest.mark.parametrize("table", ["cifar", "imagenet"])


@pytest.fixture(scope="module")
def pictures() -> dict[str, NDArray[np.uint8]]:
    return {"cifar": scenes(24, 32), "imagenet": scenes(24, 96)}


def test_there_are_fifteen_in_four_groups_in_the_published_order() -> None:
    assert len(CORRUPTIONS) == len(set(CORRUPTIONS)) == 15
    assert [len(names) for names in GROUPS.values()] == [3, 4, 4, 4]
    assert CORRUPTIONS[0] == "gaussian_noise"
    assert CORRUPTIONS[-1] == "jpeg_compression"


@both_tables
def test_each_table_has_five_severities_of_each_corruption(table: TableName) -> None:
    assert set(TABLES[table]) == set(CORRUPTIONS)
    assert all(len(row) == 5 for row in TABLES[table].values())


@every_corruption
@both_tables
def test_parameters_are_the_published_ones(name: str, table: TableName) -> None:
    for parameter, wanted in zip(TABLES[table][name], PUBLISHED[table][name], strict=True):
        assert flat(parameter) == pytest.approx(wanted, rel=1e-12)


def flat(parameter: object) -> tuple[float, ...]:
    """A published tuple, whether or not its numbers are grouped."""
    if isinstance(parameter, tuple):
        return tuple(number for part in parameter for number in flat(part))
    assert isinstance(parameter, int | float)
    return (parameter,)


@every_corruption
@both_tables
@pytest.mark.parametrize("severity", [1, 5])
def test_same_seed_gives_same_picture_and_leaves_the_input(
    name: str, table: TableName, severity: int, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    clean = pictures[table][:2].copy()
    first = corrupt(clean, name, severity, seed=3)
    second = corrupt(clean, name, severity, seed=3)
    assert first.dtype == np.uint8
    assert first.shape == clean.shape
    assert np.array_equal(first, second)
    assert np.array_equal(clean, pictures[table][:2])
    assert not np.array_equal(first, clean)


@every_corruption
def test_another_seed_changes_only_what_is_random(
    name: str, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    clean = pictures["cifar"][:2]
    same = np.array_equal(corrupt(clean, name, 5, seed=0), corrupt(clean, name, 5, seed=1))
    assert same == (name in DETERMINISTIC)


@every_corruption
@both_tables
def test_result_does_not_depend_on_how_images_were_batched(
    name: str, table: TableName, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    clean = pictures[table][:4]
    whole = corrupt(clean, name, 4, seed=5)
    tail = corrupt(clean[1:], name, 4, seed=5, first_index=1)
    frame = corrupt(clean[2], name, 4, seed=5, first_index=2)
    assert np.array_equal(whole[1:], tail)
    assert np.array_equal(whole[2], frame)


@every_corruption
def test_large_batches_are_cut_without_a_trace(name: str) -> None:
    many = np.repeat(scenes(1, 32), 300, axis=0)
    whole = corrupt(many, name, 3, seed=0)
    assert np.array_equal(whole[280], corrupt(many[280], name, 3, seed=0, first_index=280))


@every_corruption
@both_tables
def test_pictures_get_worse_with_severity(
    name: str, table: TableName, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    clean = pictures[table]
    quality = [psnr(clean, corrupt(clean, name, severity, seed=0)) for severity in range(1, 6)]
    assert all(6 < value < 46 for value in quality)
    if name not in UNEVEN[table]:
        assert quality == sorted(quality, reverse=True)
    elif name != "elastic_transform":
        assert quality[4] < quality[0]


@every_corruption
def test_frames_need_not_be_square(name: str) -> None:
    wide = scenes(1, 240)[0, :135]
    assert corrupt(wide, name, 5, seed=0).shape == wide.shape
    tall = scenes(1, 48)[0, :, :17]
    assert corrupt(tall, name, 5, seed=0).shape == tall.shape


@every_corruption
def test_no_image_gives_no_image(name: str) -> None:
    assert corrupt(np.zeros((0, 32, 32, 3), np.uint8), name, 1, seed=0).shape == (0, 32, 32, 3)


@pytest.mark.parametrize(("side", "table"), [(32, "cifar"), (64, "cifar"), (65, "imagenet")])
def test_table_is_chosen_by_the_longest_side(side: int, table: TableName) -> None:
    clean = scenes(1, side)
    chosen = corrupt(clean, "contrast", 2, seed=0)
    other: TableName = "cifar" if table == "imagenet" else "imagenet"
    assert np.array_equal(chosen, corrupt(clean, "contrast", 2, seed=0, table=table))
    assert not np.array_equal(chosen, corrupt(clean, "contrast", 2, seed=0, table=other))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"severity": 0}, "severity must be in 1..5, got 0"),
        ({"severity": 6}, "severity must be in 1..5, got 6"),
        ({"name": "rain"}, "name must be one of .*, got 'rain'"),
        ({"table": "tiny"}, "table must be auto, cifar or imagenet, got 'tiny'"),
        ({"seed": -1}, "must not be negative, got -1 and 0"),
        ({"first_index": -2}, "must not be negative, got 0 and -2"),
        ({"images": np.zeros((32, 32, 3))}, "must be uint8 .*, got float64"),
        ({"images": np.zeros((32, 32), np.uint8)}, r"got uint8 \(32, 32\)"),
        ({"images": np.zeros((32, 32, 4), np.uint8)}, r"got uint8 \(32, 32, 4\)"),
        ({"images": np.zeros((15, 32, 3), np.uint8)}, "at least 16 pixels, got 15 x 32"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "images": np.zeros((32, 32, 3), np.uint8),
        "name": "fog",
        "severity": 1,
        "seed": 0,
    }
    with pytest.raises(ValueError, match=message):
        corrupt(**(arguments | change))  # type: ignore[arg-type]
