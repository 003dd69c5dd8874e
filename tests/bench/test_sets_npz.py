"""Sets in .npz files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.sets import CLEAN, load_npz_pictures, load_set
from edge_tta.errors import SourceError
from edge_tta.prepare import resize
from tests.bench.pictures import CLASSES, LABELS, SIZE, N, pictures
from tests.frames.media import textured


def _write(path: Path, **more: Any) -> Path:
    np.savez(path, **{"fog": pictures(1), "snow": pictures(2), "labels": LABELS, **more})
    return path


def test_every_array_but_the_labels_is_a_corruption(tmp_path: Path) -> None:
    path = _write(tmp_path / "some.npz", classes=np.array(["a", "b", "c"]), severity=3)
    data = load_set(path, SIZE)
    assert (data.name, data.severity, len(data)) == ("some", 3, N)
    assert list(data.corruptions) == ["fog", "snow"]
    np.testing.assert_array_equal(data.corruptions["snow"], pictures(2))
    np.testing.assert_array_equal(data.labels, LABELS)
    assert data.labels.dtype == np.int64


def test_images_alone_are_clean(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", images=pictures(1), labels=LABELS)
    data = load_set(tmp_path / "some.npz", SIZE)
    assert (list(data.corruptions), data.severity) == ([CLEAN], 0)


def test_limit_and_only_choose(tmp_path: Path) -> None:
    data = load_set(_write(tmp_path / "some.npz"), SIZE, limit=4, only=["snow"])
    assert list(data.corruptions) == ["snow"]
    np.testing.assert_array_equal(data.corruptions["snow"], pictures(2)[:4])
    np.testing.assert_array_equal(data.labels, LABELS[:4])


def test_pictures_are_brought_to_size_as_frames_are(tmp_path: Path) -> None:
    wide = np.stack([textured(i, 24, 40) for i in range(N)])
    data = load_set(_write(tmp_path / "some.npz", fog=wide), 16)
    np.testing.assert_array_equal(data.corruptions["fog"][2], resize(wide[2], 16))
    assert data.corruptions["snow"].shape == (N, 16, 16, 3)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"fog": pictures(1).astype(np.float32)}, "expected uint8"),
        ({"fog": pictures(1)[..., 0]}, "expected uint8"),
        ({"fog": pictures(1)[..., :2]}, "expected uint8"),
        ({"fog": pictures(1, n=5)}, "5 pictures and there are 6 labels"),
        ({"labels": LABELS[:5]}, "6 pictures and there are 5 labels"),
        ({"labels": LABELS[:, None]}, "labels"),
        ({"labels": LABELS - 1}, "label -1"),
        ({"labels": LABELS.astype(float)}, "labels"),
        ({"labels": np.array(5)}, "labels"),
        ({"labels": np.array(list("catdog"))}, "labels"),
        ({"labels": LABELS[:0], "fog": pictures(1)[:0], "snow": pictures(1)[:0]}, "no pict"),
        ({"labels": np.array([None] * 6)}, "cannot read"),
    ],
    ids=range(12),
)
def test_arrays_that_do_not_fit_are_told(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=said):
        load_set(_write(tmp_path / "some.npz", **more), SIZE)


def test_an_unknown_corruption_is_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no rain; it has fog, snow"):
        load_set(_write(tmp_path / "some.npz"), SIZE, only=["fog", "rain"])


def test_without_labels_it_is_no_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", fog=pictures(1))
    with pytest.raises(SourceError, match="no array 'labels'"):
        load_set(tmp_path / "some.npz", SIZE)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 broken", b"garbage" * 99])
def test_a_damaged_file_is_told(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(data)
    for load in (lambda: load_set(path, SIZE), lambda: load_npz_pictures(path, None)):
        with pytest.raises(SourceError, match="cannot read"):
            load()


def test_pictures_labels_and_classes_are_given(tmp_path: Path) -> None:
    path = tmp_path / "clean.npz"
    np.savez(path, images=pictures(1), labels=LABELS, classes=np.array(CLASSES))
    images, labels, more = load_npz_pictures(path, 4)
    np.testing.assert_array_equal(images, pictures(1)[:4])
    np.testing.assert_array_equal(labels, LABELS[:4])
    np.testing.assert_array_equal(more["classes"], CLASSES)


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": LABELS},
        {"images": pictures(1)},
        {"images": pictures(1), "labels": LABELS[:3]},
        {"images": pictures(1).astype(float), "labels": LABELS},
        {"images": pictures(1)[..., 0], "labels": LABELS},
        {"images": pictures(1)[..., :2], "labels": LABELS},
        {"images": pictures(1), "labels": np.array(3)},
    ],
    ids=range(7),
)
def test_what_is_no_set_of_pictures_is_told(arrays: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "clean.npz"
    np.savez(path, **arrays)
    with pytest.raises(SourceError, match=r"expected an \.npz with images"):
        load_npz_pictures(path, None)


def _claiming(path: Path, shape: tuple[int, ...], dtype: str = "|u1") -> Path:
    """A small .npz, one array of which claims a shape."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    _write(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        start = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode()
        archive.writestr("rain.npy", start + bytes(100))
    return path


@pytest.mark.parametrize(
    "shape", [(2**40, 3, 3, 3), (2**33,), (10_000, 32, 32, 3), (2**70, 3), (200,)]
)
def test_an_array_that_claims_more_than_is_stored_is_refused_before_it_is_allocated(
    tmp_path: Path, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _claiming(tmp_path / "some.npz", shape)

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("an array was read")

    monkeypatch.setattr(np.lib.format, "read_array", never)
    for load in (lambda: load_set(path, SIZE), lambda: load_npz_pictures(path, None)):
        with pytest.raises(
            SourceError, match=r"rain.npy claims \d+ bytes, and \d+ are stored"
        ) as told:
            load()
        assert "\n" not in str(told.value)


def test_arrays_that_deflate_well_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez_compressed(path, fog=np.zeros((500, 32, 32, 3), np.uint8), labels=np.zeros(500, int))
    assert len(load_set(path, 32)) == 500


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_a_sets_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "some.npz")
    with pytest.raises(SourceError, match="no ordinary file"):
        load_set(tmp_path / "some.npz", SIZE)


def test_pictures_for_inputs_that_are_not_square(tmp_path: Path) -> None:
    data = load_set(_write(tmp_path / "some.npz"), (10, 30))
    assert data.corruptions["fog"].shape == (N, 10, 30, 3)


def test_a_corruption_that_is_not_there_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="did you mean fog"):
        load_set(_write(tmp_path / "some.npz"), SIZE, only=["foggy"])


def test_gray_pictures_have_equal_channels(tmp_path: Path) -> None:
    gray = pictures(1)[..., :1]
    data = load_set(_write(tmp_path / "some.npz", fog=gray), SIZE)
    np.testing.assert_array_equal(data.corruptions["fog"], np.repeat(gray, 3, -1))
